"""What every search strategy must do: runs over everything registered."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.search import search
from bitfront.search.archive import non_dominated
from bitfront.search.front import Front
from bitfront.search.problem import Constraint, Evaluation, Problem
from bitfront.search.strategies import STRATEGIES, make_strategy
from bitfront.search.strategies.base import Strategy
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_PAIRS = [("fp32", "fp32"), ("int8", "int8")]


def digits() -> SearchSpace:
    """The digits space on a device that executes two formats, with an 8-bit stem and one fixed kernel."""
    space = SPACES.get("digits")().restrict_formats(lambda op: _PAIRS)
    return space.restrict({"stem.weight_format": ["int8"], "stage0.block0.kernel": [5]})


def tiny() -> SearchSpace:
    """So few points that they can be used up; depth makes the number of ways to write them larger."""
    space = digits()
    free = {"stage0.depth", "stage0.block1.kernel", "stage0.block1.width"}
    kept = space.sample(1, np.random.default_rng(0))[0]
    return space.restrict({g.name: [g.choices[kept[i]]] for i, g in enumerate(space.genes) if g.name not in free})


FOUR = ("top1", "latency_ms", "size_bytes", "energy_mj")


class Failing(Problem):
    """One candidate in seven can not be scored."""

    def __init__(self, inner: Problem) -> None:
        super().__init__(inner.space, inner.objectives, inner.predict, inner.cost, inner.constraints)

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """See `Problem.evaluate`."""
        failed = np.flatnonzero(genomes.sum(axis=1) % 7 == 0)
        return self.judge(super().evaluate(genomes).metrics, {int(row): "out of memory" for row in failed})


def problem_on(
    space: SearchSpace,
    constrained: bool = False,
    objectives: tuple[str, ...] = ("top1", "latency_ms", "size_bytes"),
    share: float = 0.5,
) -> Problem:
    """Cheap metrics that every active gene moves; if constrained, only a ``share`` of the space is fast enough.

    Whole numbers are summed, so that a candidate's scores do not depend on the batch it comes in.
    """
    gain, latency, size = np.random.default_rng(0).integers(1, 1000, size=(3, space.encoding_width)).astype(float)
    energy = np.random.default_rng(2).integers(1, 1000, size=space.encoding_width).astype(float)

    def cost(genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        encoded = space.encode(genomes).astype(np.float64)
        costs = {"latency_ms": encoded @ latency, "size_bytes": encoded @ size}
        return costs | ({"energy_mj": encoded @ energy} if "energy_mj" in objectives else {})

    def predict(genomes: Genomes) -> NDArray[np.float64]:
        total = space.encode(genomes).astype(np.float64) @ gain
        return np.asarray(total / (total + 5000.0))

    bound = float(np.quantile(cost(space.sample(500, np.random.default_rng(1)))["latency_ms"], share))
    constraints = [Constraint("latency_ms", "<=", bound)] if constrained else []
    return Problem(space, objectives, predict, cost, constraints)


def advance(strategy: Strategy, turns: int) -> list[Genomes]:
    asked = []
    for _ in range(turns):
        asked.append(strategy.ask())
        strategy.tell(asked[-1], strategy.problem.evaluate(asked[-1]))
    return asked


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    return loaded


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in STRATEGIES.names()},
    "optuna": ("optuna", {"startup": 8}),
    "optuna-nsga2": ("optuna", {"sampler": "nsga2"}),
}
_SLOW = {"optuna"}  # TPE takes some 50 ms for each suggestion


def batch(name: str) -> int:
    """Candidates per `ask`; budgets are so many of these, of which TPE draws no more than the first at random."""
    return 10 if name in _SLOW else 30


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else []) for name in VARIANTS]
)
class TestEveryStrategy:
    def make(self, name: str, problem: Problem, seed: int = 0, population: int | None = None) -> Strategy:
        strategy, options = VARIANTS[name]
        options = {"population": population or batch(name), **options}
        return make_strategy(strategy, problem, np.random.default_rng(seed), options)

    def search(self, name: str, problem: Problem, seed: int, **arguments: Any) -> Front:
        strategy, options = VARIANTS[name]
        return search(
            problem,
            strategy,
            rng=np.random.default_rng(seed),
            **{**arguments, "options": {"population": batch(name), **options}},
        )

    def test_proposes_canonical_valid_genomes_of_the_restricted_space(self, name: str) -> None:
        space = digits()
        for genomes in advance(self.make(name, problem_on(space)), 6):
            np.testing.assert_array_equal(space.check(genomes), genomes)
            assert (genomes[:, space.position["stem.weight_format"]] == 1).all()
            assert (genomes[:, space.position["stage0.block0.kernel"]] == 1).all()

    def test_keeps_genes_that_are_fixed(self, name: str) -> None:
        """An 8-bit stem and no 7x7, in everything that is scored: mating, repair and phases may not undo it."""
        space = SPACES.get("digits")().fix({"stem.*_format": "int8", "*.kernel": [3, 5]})
        scored: list[Genomes] = []
        front = self.search(
            name,
            problem_on(space),
            0,
            evaluations=5 * batch(name),
            on_generation=lambda generation: scored.append(generation.genomes),
        )
        genomes = np.concatenate([*scored, front.genomes])
        assert space.valid(genomes).all()
        kernels = [i for i, gene in enumerate(space.genes) if gene.kind == "kernel"]
        assert (genomes[:, kernels] < 2).all()
        stem = {name: space.genes[i].choices for name, i in space.position.items() if name.startswith("stem.")}
        assert len(stem) == 2
        for gene, choices in stem.items():
            assert (genomes[:, space.position[gene]] == choices.index("int8")).all()

    def test_never_proposes_a_genome_twice(self, name: str) -> None:
        asked = np.concatenate(advance(self.make(name, problem_on(digits())), 12))
        assert len(np.unique(asked, axis=0)) == len(asked) == 12 * batch(name)

    def test_uses_up_a_small_space_and_stops(self, name: str) -> None:
        space = tiny()
        strategy = self.make(name, problem_on(space), population=8)
        asked: list[Genomes] = []
        while len(genomes := strategy.ask()):
            asked.append(genomes)
            strategy.tell(genomes, strategy.problem.evaluate(genomes))
            assert len(asked) <= space.size()
        everything = np.concatenate(asked)
        assert len(np.unique(everything, axis=0)) == len(everything) == space.size()

    def test_asks_for_no_more_than_is_left(self, name: str) -> None:
        strategy = self.make(name, problem_on(digits()))
        advance(strategy, 2)
        genomes = strategy.ask(7)
        assert len(genomes) == 7
        strategy.tell(genomes, strategy.problem.evaluate(genomes))
        assert len(strategy.archive) == 2 * batch(name) + 7

    @pytest.mark.parametrize(("batches", "more"), [(0, 1), (1, -1), (1, 0), (3, 4)])
    def test_respects_the_budget(self, name: str, batches: int, more: int) -> None:
        budget = batches * batch(name) + more
        spent: list[int] = []
        self.search(
            name,
            problem_on(digits()),
            0,
            evaluations=budget,
            on_generation=lambda generation: spent.append(len(generation.genomes)),
        )
        assert sum(spent) == budget

    def test_same_seed_same_front_other_seed_another(self, name: str) -> None:
        problem = problem_on(digits())
        one, same, other = (self.search(name, problem, seed, evaluations=6 * batch(name)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.genomes, same.genomes)
        assert one.genomes.tolist() != other.genomes.tolist()

    def test_asking_again_before_telling_gives_the_same(self, name: str) -> None:
        strategy = self.make(name, problem_on(digits()))
        advance(strategy, 1)
        np.testing.assert_array_equal(strategy.ask(), strategy.ask())

    @pytest.mark.parametrize("asked", [False, True], ids=["after tell", "between ask and tell"])
    def test_goes_on_bit_identically_after_save_and_load(self, name: str, asked: bool) -> None:
        problem = problem_on(digits(), constrained=True)
        undisturbed, other = self.make(name, problem, seed=3), self.make(name, problem, seed=4)
        advance(undisturbed, 3)
        if asked:
            undisturbed.ask()
        told = undisturbed.archive
        other.restore(
            through_json(undisturbed.state()), told.genomes.copy(), problem.judge(told.evaluation.metrics)
        )
        for one, two in zip(advance(undisturbed, 4), advance(other, 4), strict=True):
            np.testing.assert_array_equal(one, two)
        assert through_json(undisturbed.state()) == through_json(other.state())
        np.testing.assert_array_equal(undisturbed.best()[0], other.best()[0])

    @pytest.mark.parametrize("turns", [1, 2, 5])
    def test_goes_on_bit_identically_wherever_it_is_saved(self, name: str, turns: int) -> None:
        problem = problem_on(digits(), constrained=True)
        undisturbed, other = (self.make(name, problem, seed, population=12) for seed in (3, 4))
        undisturbed.plan(84)  # so that sequential phases end on the way
        advance(undisturbed, turns)
        told = undisturbed.archive
        other.restore(
            through_json(undisturbed.state()), told.genomes.copy(), problem.judge(told.evaluation.metrics)
        )
        for one, two in zip(advance(undisturbed, 3), advance(other, 3), strict=True):
            np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("objectives", [("top1",), ("latency_ms",), FOUR], ids=len)
    def test_serves_one_objective_and_four(self, name: str, objectives: tuple[str, ...]) -> None:
        problem = problem_on(digits(), objectives=objectives)
        front = self.search(name, problem, 0, evaluations=4 * batch(name))
        assert (len(front) == 1) == (len(objectives) == 1)
        assert np.isfinite(front.F).all()

    def test_finds_what_meets_a_tight_constraint(self, name: str) -> None:
        """Of three batches two candidates do; all strategies have as many as random draws need."""
        problem = problem_on(digits(), constrained=True, share=0.6 / batch(name))
        front = self.search(name, problem, 0, evaluations=8 * batch(name))
        assert len(front) > 0
        assert (front.predicted["latency_ms"] <= problem.constraints[0].bound).all()

    @pytest.mark.parametrize("constrained", [False, True])
    def test_candidates_that_fail_do_not_stop_it(self, name: str, constrained: bool) -> None:
        problem = Failing(problem_on(digits(), constrained))
        n = 2 * batch(name) // 3
        strategy = self.make(name, problem, population=n)
        asked = np.concatenate(advance(strategy, 6))
        assert len(np.unique(asked, axis=0)) == len(asked) == 6 * n
        assert 0 < len(strategy.archive.evaluation.errors) < 3 * n
        assert np.isfinite(strategy.best()[1].F).all()

    def test_refuses_what_was_saved_with_other_options(self, name: str) -> None:
        problem, n = problem_on(digits()), batch(name)
        saved, other = self.make(name, problem), self.make(name, problem, population=n - 1)
        nothing = problem.judge({metric: np.empty(0) for metric in ("top1", "latency_ms", "size_bytes")})
        state, genomes = through_json(saved.state()), np.empty((0, problem.space.n_genes), np.uint8)
        with pytest.raises(CorruptFileError, match=rf"made with population = {n}, and this one with {n - 1}"):
            other.restore(state, genomes, nothing)
        other.restore({**state, "options": {**state["options"], "population": n - 1}}, genomes, nothing)

    def test_problem_and_generator_are_no_options(self, name: str) -> None:
        strategy, options = VARIANTS[name]
        problem, rng = problem_on(digits()), np.random.default_rng(0)
        named = STRATEGIES.get(strategy)(problem=problem, rng=rng, **{"population": batch(name), **options})
        assert named.options == self.make(name, problem).options

    def test_can_be_saved_before_it_begins(self, name: str) -> None:
        problem = problem_on(digits())
        fresh, other = self.make(name, problem, seed=3), self.make(name, problem, seed=4)
        nothing = problem.judge({metric: np.empty(0) for metric in ("top1", "latency_ms", "size_bytes")})
        other.restore(through_json(fresh.state()), np.empty((0, problem.space.n_genes), np.uint8), nothing)
        for one, two in zip(advance(fresh, 2), advance(other, 2), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_keeps_the_best_of_all_that_was_told(self, name: str) -> None:
        problem = problem_on(digits(), constrained=True)
        strategy = self.make(name, problem)
        foreign = problem.space.sample(30, np.random.default_rng(9))  # some miss the limit, whoever searches
        strategy.tell(foreign, problem.evaluate(foreign))
        evaluation = problem.evaluate(np.concatenate([foreign, *advance(strategy, 7)]))
        feasible = evaluation.F[evaluation.feasible]
        assert 0 < len(feasible) < len(evaluation)
        genomes, best = strategy.best()
        assert best.feasible.all()
        expected = np.unique(feasible[non_dominated(feasible)], axis=0)
        np.testing.assert_array_equal(np.unique(best.F, axis=0), expected)
        np.testing.assert_array_equal(problem.evaluate(genomes).F, best.F)

    def test_meets_constraints_in_its_front(self, name: str) -> None:
        problem = problem_on(digits(), constrained=True)
        front = self.search(name, problem, 0, evaluations=10 * batch(name))
        assert len(front) > 0
        assert (front.predicted["latency_ms"] <= problem.constraints[0].bound).all()

    def test_learns_from_candidates_that_others_scored(self, name: str) -> None:
        problem = problem_on(digits())
        strategy = self.make(name, problem)
        foreign = problem.space.sample(20, np.random.default_rng(9))
        strategy.tell(foreign, problem.evaluate(foreign))
        asked = np.concatenate([foreign, *advance(strategy, 3)])
        assert len(np.unique(asked, axis=0)) == 20 + 3 * batch(name)
        assert len(strategy.archive) == 20 + 3 * batch(name)
