"""The baseline's phases: what each may change, what it starts from, and how the budget is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from bitfront.search.archive import non_dominated
from bitfront.search.problem import Constraint, Problem
from bitfront.search.strategies.base import InvalidOptionError
from bitfront.search.strategies.nsga2 import Nsga2
from bitfront.search.strategies.sequential import PHASES, Sequential
from bitfront.supernet.genes import Choice, Gene, Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


def made(problem: Problem, **options: Any) -> Sequential:
    return Sequential(problem, np.random.default_rng(0), **{"population": 20, **options})


def turns(strategy: Sequential, scored: int) -> Iterator[tuple[str, Genomes]]:
    """Phase and genomes of each ask, until so many are scored."""
    while len(strategy.archive) < scored:
        genomes = strategy.ask(scored - len(strategy.archive))
        yield strategy.phase, genomes
        strategy.tell(genomes, strategy.problem.evaluate(genomes))


def columns(space: SearchSpace, *phases: str) -> list[int]:
    kinds = [kind for name, chosen in PHASES if name in phases for kind in chosen]
    return [place for place, gene in enumerate(space.genes) if gene.kind in kinds]


def counted(strategy: Sequential, scored: int) -> dict[str, int]:
    found = dict.fromkeys([*(name for name, _ in PHASES), "rest"], 0)
    for phase, genomes in turns(strategy, scored):
        found[phase] += len(genomes)
    return found


def test_each_phase_has_a_third_of_the_budget(space: SearchSpace, make_problem: MakeProblem) -> None:
    strategy = made(make_problem(space), format="int8")
    strategy.plan(300)
    found = counted(strategy, 300)
    assert found["rest"] == 0
    assert 0 < found["architecture"] <= 100
    assert found["pruning"] == (300 - found["architecture"]) // 2, "what a phase leaves goes to those after it"
    assert sum(found.values()) == 300


def test_a_given_number_of_evaluations_stands_before_the_budget(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    strategy = made(make_problem(space), evaluations=90)
    strategy.plan(3000)
    assert counted(strategy, 90)["bits"] >= 30


def test_each_phase_changes_its_own_genes_only(space: SearchSpace, make_problem: MakeProblem) -> None:
    strategy = made(make_problem(space), format="int8")
    strategy.plan(240)
    begun: dict[str, Genomes] = {}
    for phase, genomes in turns(strategy, 240):
        starts = begun.setdefault(phase, strategy._kept)
        own = columns(space, phase)
        for genome in genomes:
            # A start with the phase's own genes of the candidate must be the candidate: nothing else differs.
            moved = starts.copy()
            moved[:, own] = genome[own]
            assert (space.canonical(moved) == genome).all(axis=1).any()
    assert set(begun) == {name for name, _ in PHASES}


def test_one_phase_of_all_genes_is_the_joint_search(
    space: SearchSpace, make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two differ in their phases alone: operators, what is learnt and the first generation are the same."""
    every = tuple(dict.fromkeys(gene.kind for gene in space.genes))
    assert set(every) == {kind for _, kinds in PHASES for kind in kinds}
    monkeypatch.setattr("bitfront.search.strategies.sequential.PHASES", (("all", every),))
    problem = make_problem(space)
    one_phase, joint = made(problem), Nsga2(problem, np.random.default_rng(0), population=20)
    for _ in range(8):
        genomes = joint.ask()
        np.testing.assert_array_equal(one_phase.ask(), genomes)
        for strategy in (one_phase, joint):
            strategy.tell(genomes, problem.evaluate(genomes))


def test_each_phase_begins_with_the_corners_of_its_genes(space: SearchSpace, make_problem: MakeProblem) -> None:
    strategy = made(make_problem(space), format="int8", carried=2)
    strategy.plan(300)
    first: dict[str, Genomes] = {}
    for phase, genomes in turns(strategy, 300):
        first.setdefault(phase, genomes)
    depths = first["architecture"][:, columns(space, "architecture")]
    assert {tuple(row) for row in space.extremes()[:, columns(space, "architecture")]} <= {
        tuple(row) for row in depths
    }
    widths = [space.decode(genome) for genome in first["pruning"]]
    # The largest widths are those of the phase before, and not scored again.
    assert any(all(row[gene.name] == gene.choices[0] for gene in _wide(space, row)) for row in widths)
    middle = [{layer.weight_format for layer in space.layers(g) if layer.op == "depthwise"} for g in first["bits"]]
    # As are those in int8.
    assert {"fp32", "int6", "int4"} <= {next(iter(one)) for one in middle if len(one) == 1}


def _wide(space: SearchSpace, row: Mapping[str, Choice]) -> list[Gene]:
    return [gene for gene in space.genes if gene.kind == "width" and gene.name in row]


def test_only_the_front_is_handed_over(space: SearchSpace, make_problem: MakeProblem) -> None:
    """What lies far apart otherwise are the worst ones, and the baseline would be weaker than it is."""
    problem = make_problem(space)
    strategy = made(problem, carried=4)
    strategy.plan(180)
    phase = strategy.phase
    for now, _ in turns(strategy, 180):
        if now != phase:
            phase = now
            scored = strategy.archive.evaluation.F[: strategy._started]
            kept = problem.evaluate(strategy._kept).F
            begun = [(scored == one).all(axis=1).any() for one in kept]
            assert all(begun)
            assert 1 <= len(kept) <= 4
            assert non_dominated(kept).all()


def test_what_is_handed_over_meets_the_constraints_where_anything_does(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem = make_problem(space, constraints=(Constraint("latency_ms", "<=", 20.0),))
    strategy = made(problem)
    strategy.plan(240)
    list(turns(strategy, 240))
    feasible = strategy.archive.evaluation.feasible[: strategy._started]
    assert feasible.any()
    assert problem.evaluate(strategy._kept).feasible.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluations": 2}, "evaluations is 2"),
        ({"carried": 0}, "carried is 0"),
        ({"format": "int77"}, "int77"),
        ({"crossover_rate": 1.5}, "crossover_rate is 1.5"),
        ({"mutations": 0.0}, "mutations is 0.0"),
    ],
)
def test_bad_options_are_named(
    space: SearchSpace, make_problem: MakeProblem, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        made(make_problem(space), **options)


@pytest.mark.parametrize("phase", [1, 2])
def test_blocks_that_a_child_forgets_stay_as_its_mother_has_them(
    space: SearchSpace, make_problem: MakeProblem, phase: int
) -> None:
    """A shallower father makes the child skip blocks; the mother's depth, which stays, brings them back."""
    strategy = made(make_problem(space), format="int8")
    strategy._phase = phase
    rng = np.random.default_rng(0)
    mothers = space.sample(200, rng)
    depths = [place for place, gene in enumerate(space.genes) if gene.name.endswith("depth")]
    shallow = mothers.copy()
    shallow[:, depths] = 0
    children = space.canonical(shallow)
    assert (space.active(children) < space.active(mothers)).any()
    np.testing.assert_array_equal(strategy._held(mothers, children), mothers)
