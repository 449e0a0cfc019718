"""Candidates that failed for good: known, but never feasible, on the front or among the survivors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search.archive import Archive
from bitfront.search.loop import Checkpoint, Generation, search
from bitfront.search.problem import Constraint, Evaluation, InfeasibleError, Problem
from bitfront.search.strategies.nsga2 import survivors
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace


class Failing(Problem):
    """A problem some of whose candidates fail, always the same ones."""

    share = 3  # one candidate in so many

    def evaluate(self, genomes: Genomes) -> Evaluation:
        whole = super().evaluate(genomes)
        failed = genomes.astype(int).sum(axis=1) % self.share == 0
        return self.judge(whole.metrics, {int(row): f"out of memory at {row}" for row in np.flatnonzero(failed)})


class AllFailing(Failing):
    share = 1


def failing(space: SearchSpace, make: Any, kind: type[Failing] = Failing, **arguments: Any) -> Failing:
    whole: Problem = make(space, **arguments)
    return kind(space, whole.objectives, whole.predict, whole.cost, whole.constraints)


def judged(
    make: Any, space: SearchSpace, errors: Mapping[int, str], constraints: tuple[Constraint, ...] = ()
) -> Evaluation:
    metrics = {name: np.arange(1.0, 6.0) for name in ("latency_ms", "size_bytes")} | {"top1": np.full(5, 0.5)}
    whole: Problem = make(space, constraints=constraints)
    return whole.judge(metrics, errors)


@pytest.mark.parametrize("constraints", [(), (Constraint("latency_ms", "<=", 3.0),)])
def test_is_infinitely_bad(space: SearchSpace, make_problem: Any, constraints: tuple[Constraint, ...]) -> None:
    evaluation = judged(make_problem, space, {1: "it broke", 3: "so did this"}, constraints)
    failed = np.array([False, True, False, True, False])
    assert np.isposinf(evaluation.F[failed]).all()
    assert np.isfinite(evaluation.F[~failed]).all()
    assert np.isposinf(evaluation.G[failed]).all()
    assert all(np.isnan(values[failed]).all() for values in evaluation.metrics.values())
    np.testing.assert_array_equal(np.isposinf(evaluation.violation), failed)
    assert not evaluation.feasible[failed].any()
    assert evaluation.feasible[0]
    assert evaluation.errors == {1: "it broke", 3: "so did this"}


@given(rows=st.lists(st.integers(-5, 4), max_size=8))
def test_errors_go_with_their_rows(rows: list[int]) -> None:
    F = np.arange(5.0)[:, None]
    evaluation = Evaluation(F, np.zeros((5, 0)), {"macs": F[:, 0]}, {0: "a", 4: "b"})
    taken = evaluation.take(np.array(rows, dtype=np.intp))
    names = {0: "a", 4: "b"}
    assert taken.errors == {i: names[row % 5] for i, row in enumerate(rows) if row % 5 in names}


def test_the_archive_keeps_them_off_the_front() -> None:
    archive = Archive(1)
    for start in (0, 5):
        F = np.arange(5.0)[:, None]
        F[1] = np.inf
        genomes = np.arange(start, start + 5, dtype=np.uint8)[:, None]
        archive.add(genomes, Evaluation(F, np.zeros((5, 0)), {"macs": F[:, 0]}, {1: f"error {start}"}))
        archive.add(genomes, Evaluation(F, np.zeros((5, 0)), {"macs": F[:, 0]}, {1: "known already"}))
    assert archive.evaluation.errors == {1: "error 0", 6: "error 5"}
    assert archive.front.tolist() == [0]


def test_an_archive_of_nothing_else_has_no_front() -> None:
    archive = Archive(1)
    F = np.full((1, 1), np.inf)
    archive.add(np.zeros((1, 1), np.uint8), Evaluation(F, np.zeros((1, 0)), {"macs": F[:, 0]}, {0: "broken"}))
    assert len(archive.front) == 0
    assert len(archive.fresh(np.zeros((1, 1), np.uint8))) == 0, "it is not proposed again"


def test_never_survives() -> None:
    F = np.array([[np.inf], [1.0], [2.0], [np.inf]])
    violation = np.array([np.inf, 0.0, 0.5, np.inf])
    assert survivors(F, violation, 4).tolist() == [1, 2]
    assert survivors(F[[0, 3]], violation[[0, 3]], 4).tolist() == []


@pytest.mark.parametrize("strategy", ["nsga2", "random"])
def test_the_search_goes_on_and_resumes_with_them(space: SearchSpace, make_problem: Any, strategy: str) -> None:
    problem = failing(space, make_problem)
    kept: list[Generation] = []

    def run(**arguments: Any) -> Any:
        options = {"population": 30}
        return search(problem, strategy, rng=np.random.default_rng(1), generations=5, options=options, **arguments)

    whole = run(on_generation=kept.append)
    told = [generation.evaluation for generation in kept]
    assert sum(len(evaluation.errors) for evaluation in told) > 20
    assert np.isfinite(whole.F).all()
    assert (whole.genomes.astype(int).sum(axis=1) % 3 != 0).all()
    assert [g.hypervolume for g in kept] == sorted(g.hypervolume for g in kept)
    assert kept[-1].hypervolume > 0
    genomes = np.concatenate([generation.genomes for generation in kept[:3]])
    assert len(np.unique(genomes, axis=0)) == len(genomes) == 90
    metrics = {n: np.concatenate([one.metrics[n] for one in told[:3]]) for n in told[0].metrics}
    again = run(resume=Checkpoint(kept[2].state, genomes, metrics))
    np.testing.assert_array_equal(again.genomes, whole.genomes)
    np.testing.assert_array_equal(again.F, whole.F)


def test_a_stored_failure_is_found_by_its_metrics(space: SearchSpace, make_problem: Any) -> None:
    first = judged(make_problem, space, {2: "it broke"})
    again = make_problem(space).judge(first.metrics)
    assert again.errors.keys() == {2}
    np.testing.assert_array_equal(again.F, first.F)


@pytest.mark.parametrize("strategy", ["nsga2", "random"])
def test_says_so_where_all_failed(space: SearchSpace, make_problem: Any, strategy: str) -> None:
    kept: list[Generation] = []
    problem = failing(space, make_problem, AllFailing, constraints=(Constraint("latency_ms", "<=", 99.0),))
    with pytest.raises(InfeasibleError, match="all of 60 candidates failed, the first with: out of memory at 0"):
        search(
            problem,
            strategy,
            rng=np.random.default_rng(0),
            generations=2,
            options={"population": 30},
            on_generation=kept.append,
        )
    assert [generation.hypervolume for generation in kept] == [0.0, 0.0]
