from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search import search
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, Failure
from bitfront.search.loop import Generation
from bitfront.search.measured import MeasuredProblem, NothingMeasuredError, Outcome, chunk_size, measure_on
from bitfront.search.problem import Constraint, Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


class Measuring:
    """Says what a problem predicts, remembers who was asked for, and refuses candidates whose gene 2 is 0."""

    def __init__(self, problem: Problem, refuses: bool = False) -> None:
        self.problem = problem
        self.refuses = refuses
        self.asked: list[bytes] = []

    def __call__(self, genomes: Genomes) -> list[Outcome]:
        self.asked.extend(genome.tobytes() for genome in genomes)
        top1 = self.problem.predict(genomes)
        broken = self.broken(genomes)
        return [
            f"broken {i}" if bad else float(one) for i, (one, bad) in enumerate(zip(top1, broken, strict=True))
        ]

    def broken(self, genomes: Genomes) -> Any:
        return (genomes[:, 2] == 0) & self.refuses


def measured(problem: Problem, measuring: Measuring, **more: Any) -> MeasuredProblem:
    return MeasuredProblem(problem.space, problem.objectives, measuring, problem.cost, problem.constraints, **more)


def test_measured_alike_is_searched_alike(space: SearchSpace, make_problem: MakeProblem) -> None:
    predicted = make_problem(space)
    measuring = Measuring(predicted)
    fronts = [
        search(problem, rng=np.random.default_rng(0), evaluations=120, options={"population": 30})
        for problem in (predicted, measured(predicted, measuring))
    ]
    np.testing.assert_array_equal(fronts[0].genomes, fronts[1].genomes)
    np.testing.assert_array_equal(fronts[0].F, fronts[1].F)
    assert len(measuring.asked) == len(set(measuring.asked)) == 120


def test_nothing_is_measured_twice(space: SearchSpace, make_problem: MakeProblem) -> None:
    measuring = Measuring(make_problem(space), refuses=True)
    genomes = space.sample(30, np.random.default_rng(1))
    known = {genomes[0].tobytes(): 0.123}
    problem = measured(measuring.problem, measuring, known=known)
    first = problem.evaluate(genomes)
    again = problem.evaluate(np.concatenate([genomes[::-1], genomes]))
    assert sorted(measuring.asked) == sorted({row.tobytes() for row in genomes} - set(known))
    assert first.F[0, 0] == 1 - 0.123
    np.testing.assert_array_equal(again.F[:, 0], np.concatenate([first.F[::-1, 0], first.F[:, 0]]))
    assert len(again.errors) == 2 * len(first.errors) > 0
    assert problem.outcomes[genomes[0].tobytes()] == 0.123


@pytest.mark.parametrize("constraints", [(), (Constraint("latency_ms", "<=", 20.0),)])
def test_what_fails_for_good_is_worst_and_without_numbers(
    space: SearchSpace, make_problem: MakeProblem, constraints: tuple[Constraint, ...]
) -> None:
    measuring = Measuring(make_problem(space, constraints=constraints), refuses=True)
    genomes = space.sample(60, np.random.default_rng(2))
    evaluation = measured(measuring.problem, measuring).evaluate(genomes)
    expected, broken = measuring.problem.evaluate(genomes), measuring.broken(genomes)
    assert 0 < broken.sum() < 60
    assert sorted(evaluation.errors) == np.flatnonzero(broken).tolist()
    assert all(error.startswith("broken") for error in evaluation.errors.values())
    assert np.isposinf(evaluation.F[broken]).all()
    assert np.isposinf(evaluation.G[broken]).all()
    assert np.isposinf(evaluation.violation[broken]).all()
    assert not evaluation.feasible[broken].any()
    for name, values in evaluation.metrics.items():
        assert np.isnan(values[broken]).all()
        np.testing.assert_array_equal(values[~broken], expected.metrics[name][~broken])
    np.testing.assert_array_equal(evaluation.F[~broken], expected.F[~broken])
    np.testing.assert_array_equal(evaluation.feasible[~broken], expected.feasible[~broken])


def test_judged_again_it_is_the_same(space: SearchSpace, make_problem: MakeProblem) -> None:
    """As when a search is resumed from stored metrics."""
    measuring = Measuring(make_problem(space), refuses=True)
    problem = measured(measuring.problem, measuring)
    evaluation = problem.evaluate(space.sample(40, np.random.default_rng(3)))
    judged = problem.judge(evaluation.metrics)
    np.testing.assert_array_equal(judged.F, evaluation.F)
    np.testing.assert_array_equal(judged.violation, evaluation.violation)
    assert judged.errors.keys() == evaluation.errors.keys()


@pytest.mark.parametrize("strategy", ["random", "nsga2"])
def test_a_search_goes_on_without_what_failed(
    space: SearchSpace, make_problem: MakeProblem, strategy: str
) -> None:
    measuring = Measuring(make_problem(space), refuses=True)
    problem = measured(measuring.problem, measuring)
    heard: list[Generation] = []
    front = search(
        problem,
        strategy,
        rng=np.random.default_rng(0),
        evaluations=150,
        options={"population": 30},
        on_generation=heard.append,
    )
    failures = [outcome for outcome in problem.outcomes.values() if isinstance(outcome, str)]
    assert failures
    assert len(measuring.asked) == len(set(measuring.asked)) == 150
    assert sum(len(generation.evaluation.errors) for generation in heard) == len(failures)
    assert not measuring.broken(front.genomes).any()
    assert np.isfinite(front.F).all()
    assert all(0 < generation.hypervolume < 1 for generation in heard)


def test_when_nothing_at_all_can_be_measured_it_says_so(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = MeasuredProblem(space, ["top1"], lambda genomes: ["no data"] * len(genomes), lambda _: {})
    with pytest.raises(NothingMeasuredError, match=r"none of 5 candidates .* failed with no data"):
        problem.evaluate(space.sample(5, np.random.default_rng(0)))


def test_without_accuracy_nothing_is_measured(space: SearchSpace, make_problem: MakeProblem) -> None:
    measuring = Measuring(make_problem(space, objectives=("latency_ms",)))
    evaluation = measured(measuring.problem, measuring).evaluate(space.sample(5, np.random.default_rng(0)))
    assert not measuring.asked
    assert np.isfinite(evaluation.F).all()


# -- on an executor ---------------------------------------------------------------------------------------------


def summing(shared: list[Any]) -> Callable[[Genomes], list[Outcome]]:
    """A worker that says the mean gene; it dies of a genome that begins with ``shared``, and fails on 9."""

    def work(genomes: Genomes) -> list[Outcome]:
        if (genomes[:, 0] == shared[0]).any():
            raise MemoryError("out of memory")
        return ["nine" if genome[0] == 9 else float(genome.mean()) / 255 for genome in genomes]

    return work


class Counting(Executor):
    """The local one, with a word on what it was given."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.sizes: list[int] = []
        self.inner = EXECUTORS.get("local")()

    def map(self, make_worker: Any, shared: Any, items: Sequence[Any], *rest: Any, **more: Any) -> list[Any]:
        self.sizes.extend(map(len, items))
        return self.inner.map(make_worker, shared, items, *rest, **more)

    def dismiss(self) -> None:
        self.inner.dismiss()

    def close(self) -> None:
        self.inner.close()


@given(
    first=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    workers=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_chunks_lose_and_mix_up_nothing(first: list[int], workers: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genomes = rng.integers(0, 9, (len(first), 4), dtype=np.uint8)
    genomes[:, 0] = first
    kept: list[tuple[bytes, Outcome]] = []

    def keep(some: Genomes, outcomes: Sequence[Outcome]) -> None:
        kept.extend(zip(map(bytes, some), outcomes, strict=True))

    executor = Counting(workers)
    measure = measure_on(executor, summing, [3], order=lambda some: rng.permutation(len(some)), on_measured=keep)
    outcomes = measure(genomes)
    expected: list[Outcome] = ["nine" if row[0] == 9 else float(row.mean()) / 255 for row in genomes]
    expected = [
        "MemoryError: out of memory" if row[0] == 3 else one for row, one in zip(genomes, expected, strict=True)
    ]
    assert outcomes == expected
    assert sorted(kept, key=str) == sorted(zip(map(bytes, genomes), expected, strict=True), key=str)
    assert max(executor.sizes) <= 16


def test_every_worker_gets_something() -> None:
    assert [chunk_size(n, 2) for n in (1, 3, 8, 40, 64, 1000)] == [1, 1, 2, 10, 16, 16]


def deadly(shared: list[Path]) -> Callable[[Genomes], list[Outcome]]:
    """A worker whose process dies of a genome that begins with 3."""
    import os

    def work(genomes: Genomes) -> list[Outcome]:
        if (genomes[:, 0] == 3).any():
            os._exit(1)
        return [float(genome.mean()) / 255 for genome in genomes]

    return work


@pytest.mark.ray
@pytest.mark.slow
def test_a_candidate_that_kills_its_workers_has_that_as_its_error() -> None:
    import sys

    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    genomes = np.random.default_rng(0).integers(4, 9, (12, 4), dtype=np.uint8)
    genomes[7, 0] = 3
    with EXECUTORS.get("ray")(workers=2) as executor:
        outcomes = list(measure_on(executor, deadly, [])(genomes))
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    lost = outcomes.pop(7)
    assert isinstance(lost, str)
    assert "its worker died" in lost
    assert outcomes == [float(row.mean()) / 255 for row in np.delete(genomes, 7, axis=0)]
    assert not any(isinstance(outcome, Failure) for outcome in outcomes)
