"""Policies by single changes and a linear program, against brute force over every policy of an architecture."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.search.policy_choices import PolicyChoices, in_first_formats
from bitfront.search.policy_sweep import policy_seeds, swept
from bitfront.search.problem import Constraint, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.base import InvalidOptionError
from bitfront.search.strategies.ilp import IlpBits
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

Floats = NDArray[np.float64]
Value = Callable[[Genomes], Floats]


@pytest.fixture(scope="module")
def few(space: SearchSpace) -> SearchSpace:
    """Five layers' weights have a choice of four formats; nothing else of the policy has."""
    free = [gene.name for gene in space.genes if gene.kind == "weight_format" and len(gene.choices) == 4][:5]
    fixed = {g.name: ["fp32"] for g in space.genes if g.is_policy and g.name not in free}
    return space.restrict(fixed)


@pytest.fixture(scope="module")
def base(few: SearchSpace) -> NDArray[np.uint8]:
    largest: NDArray[np.uint8] = few.extremes()[1]
    return largest


def additive(space: SearchSpace, seed: int) -> Value:
    """A whole number for every choice of every active gene, summed: what a linear program is exact for."""
    weights = np.random.default_rng(seed).integers(1, 1000, space.encoding_width).astype(float)
    return lambda genomes: np.asarray(space.encode(genomes).astype(np.float64) @ weights)


def made(space: SearchSpace, constraints: tuple[Constraint, ...] = ()) -> Problem:
    error, latency, size = (additive(space, seed) for seed in (1, 2, 3))
    return Problem(
        space,
        ("top1", "latency_ms", "size_bytes"),
        lambda genomes: 1.0 - error(genomes) / 1e6,
        lambda genomes: {"latency_ms": latency(genomes), "size_bytes": size(genomes)},
        constraints,
    )


def every_policy(choices: PolicyChoices) -> Genomes:
    return choices.genomes(np.array(list(itertools.product(*(range(len(o)) for o in choices.options)))))


def test_single_changes_are_valid_and_change_one_place(space: SearchSpace) -> None:
    for genome in in_first_formats(space, space.sample(5, np.random.default_rng(0))):
        choices = PolicyChoices.of(space, genome)
        changed = choices.one_changed()
        np.testing.assert_array_equal(space.check(changed), changed)
        np.testing.assert_array_equal(changed[0], genome)
        assert ((changed[1:] != genome).sum(axis=1) == 1).all()
        active = space.active(genome[None])[0]
        policy = [i for i, gene in enumerate(space.genes) if gene.is_policy and active[i]]
        assert len(changed) == 1 + sum(len(space.genes[i].choices) - 1 for i in policy)


def test_tied_formats_change_together() -> None:
    pairs = [("fp32", "fp32"), ("int8", "int8")]
    tied = SPACES.get("digits")().restrict_formats(lambda op: pairs)
    changed = PolicyChoices.of(tied, in_first_formats(tied, tied.extremes())[1]).one_changed()
    assert len(changed) > 5
    assert tied.valid(changed).all()


def test_tables_add_up_where_values_do(few: SearchSpace, base: NDArray[np.uint8]) -> None:
    choices, value = PolicyChoices.of(few, base), additive(few, 0)
    every = np.array(list(itertools.product(*(range(len(o)) for o in choices.options))))
    assert every.shape == (4**5, 5)
    table = choices.table(value(choices.one_changed()))
    summed = value(base[None]) + table[np.arange(5), every].sum(axis=1)
    np.testing.assert_allclose(summed, value(choices.genomes(every)))


def test_what_failed_is_no_option(few: SearchSpace, base: NDArray[np.uint8]) -> None:
    choices = PolicyChoices.of(few, base)
    values = additive(few, 0)(choices.one_changed())
    values[3] = np.inf
    table = choices.table(values)
    place, option = (part[2] for part in choices.changes)
    assert np.isnan(table[place, option])
    assert np.isnan(table).sum() == 1


def test_swept_policies_are_the_best_of_all_within_their_costs(few: SearchSpace, base: NDArray[np.uint8]) -> None:
    problem, choices = made(few), PolicyChoices.of(few, base)
    every = problem.evaluate(every_policy(choices))
    sensitivity = choices.table(problem.evaluate(choices.one_changed()).F[:, 0])
    found = swept(problem, choices, sensitivity, 6)
    scores = problem.evaluate(found)
    least = every.F.min(axis=0)
    assert len(np.unique(found, axis=0)) == len(found) > 8
    for row in scores.F:
        within = (every.F[:, 1:] <= row[1:]).all(axis=1)
        assert every.F[within, 0].min() >= row[0] - 1e-12 or (row[1:] > least[1:]).all()
    np.testing.assert_allclose(scores.F.min(axis=0), least)
    for column in (1, 2):  # each cost alone, at its limits
        low, high = every.F[:, column].min(), every.F[:, column].max()
        for limit in np.linspace(low, high, 6, endpoint=False):
            best = every.F[every.F[:, column] <= limit + 1e-9, 0].min()
            assert scores.F[scores.F[:, column] <= limit + 1e-9, 0].min() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("sense", ["<=", ">="])
def test_swept_policies_keep_the_problems_own_limits(
    few: SearchSpace, base: NDArray[np.uint8], sense: str
) -> None:
    choices = PolicyChoices.of(few, base)
    size = additive(few, 3)(every_policy(choices))
    bound = float(np.median(size))
    problem = made(few, (Constraint("size_bytes", sense, bound),))  # type: ignore[arg-type]
    sensitivity = choices.table(problem.evaluate(choices.one_changed()).F[:, 0])
    unlimited = swept(made(few), choices, sensitivity, 4)
    assert not problem.evaluate(unlimited).feasible.all()
    every = problem.evaluate(every_policy(choices))
    scores = problem.evaluate(swept(problem, choices, sensitivity, 4))
    assert scores.F[scores.feasible, 0].min() == pytest.approx(every.F[every.feasible, 0].min(), abs=1e-12)
    assert scores.feasible.all()
    assert len(scores) > 3


def test_seeds_are_new_valid_spread_and_scored_by_costs_alone(space: SearchSpace) -> None:
    def refuse(genomes: Genomes) -> Floats:
        raise AssertionError("a seeder may not predict")

    problem = made(space)
    problem.predict = refuse
    seeds = policy_seeds(problem, np.random.default_rng(0), 10)
    np.testing.assert_array_equal(space.check(seeds), seeds)
    assert len(np.unique(seeds, axis=0)) == len(seeds) == 10
    np.testing.assert_array_equal(seeds, policy_seeds(problem, np.random.default_rng(0), 10))
    assert seeds.tolist() != policy_seeds(problem, np.random.default_rng(1), 10).tolist()
    assert len(policy_seeds(problem, np.random.default_rng(0), 3)) == 3


def test_the_strategy_finds_the_true_front_of_a_linear_problem(few: SearchSpace, base: NDArray[np.uint8]) -> None:
    """With one architecture, its policies are those of brute force, though few candidates were scored."""
    fixed = {g.name: [g.choices[base[i]]] for i, g in enumerate(few.genes) if not g.is_policy}
    problem = made(few.restrict(fixed))
    strategy = make_strategy("ilp", problem, np.random.default_rng(0), {"population": 200, "levels": 6})
    assert problem.space.size() == 4**5
    first = strategy.ask(16)
    assert len(first) == 16
    strategy.tell(first, problem.evaluate(first))
    solved = strategy.ask(12)
    scores = problem.evaluate(solved)
    every = problem.evaluate(every_policy(PolicyChoices.of(problem.space, base))).F
    better = (every[None, :, 1:] <= scores.F[:, None, 1:]).all(axis=2) & (every[None, :, 0] < scores.F[:, None, 0])
    assert not (better.any(axis=1)).any()


def test_the_strategy_looks_for_other_architectures_once_where_there_are_none(
    few: SearchSpace, base: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = made(
        few.restrict({g.name: [g.choices[base[i]]] for i, g in enumerate(few.genes) if not g.is_policy})
    )
    drawn: list[int] = []
    draw = IlpBits._drawn

    def counted(self: IlpBits, wanted: int) -> Genomes:
        drawn.append(wanted)
        return draw(self, wanted)

    monkeypatch.setattr(IlpBits, "_drawn", counted)
    strategy = make_strategy("ilp", problem, np.random.default_rng(0), {"population": 100})
    for _ in range(4):
        asked = strategy.ask()
        strategy.tell(asked, problem.evaluate(asked))
    spent = len(drawn)
    strategy.tell(asked := strategy.ask(), problem.evaluate(asked))
    assert len(asked)
    assert len(drawn) == spent
    again = make_strategy("ilp", problem, np.random.default_rng(0), {"population": 100})
    again.restore(strategy.state(), strategy.archive.genomes, strategy.archive.evaluation)
    again.ask()
    assert len(drawn) == spent, "also after a resume"


def test_a_level_below_one_is_refused(few: SearchSpace) -> None:
    with pytest.raises(InvalidOptionError, match="levels is 0"):
        make_strategy("ilp", made(few), np.random.default_rng(0), {"levels": 0})
