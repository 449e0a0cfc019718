"""What the benchmarks of the search compare: the same candidates, scored alike."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks import BENCHMARKS, search_quality, search_speed
from bitfront.experiments.benchmarks.search_rivals import RIVALS, Ledger, SpentError, all_scored
from bitfront.experiments.benchmarks.stock_pymoo import stock_nsga2
from bitfront.experiments.benchmarks.synthetic_accuracy import SyntheticAccuracy
from bitfront.experiments.reporter import Reporters
from bitfront.search.problem import Evaluation, Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SPACES.get("digits")()


def cost(genomes: Genomes) -> Mapping[str, Floats]:
    total = genomes.sum(axis=1) + 1.0
    return {"latency_ms": total, "energy_mj": total**2}


def test_pymoo_scores_what_can_be_built_and_no_more_than_it_may(space: SearchSpace) -> None:
    asked: list[Genomes] = []

    def score(genomes: Genomes) -> Floats:
        asked.append(space.check(genomes))
        return np.stack([genomes.sum(axis=1), (8.0 - genomes).sum(axis=1)], axis=1)

    stock_nsga2(space, score, 2, 20, 100, 0)
    assert sum(map(len, asked)) == 100
    assert [len(one) for one in asked] == [20] * 5


class TestSyntheticAccuracy:
    def test_is_fixed_and_each_seed_is_another(self, space: SearchSpace) -> None:
        genomes = space.sample(300, np.random.default_rng(0))
        accuracy = SyntheticAccuracy(space, 1)(genomes)
        np.testing.assert_array_equal(accuracy[:40], SyntheticAccuracy(space, 1)(genomes[:40]))
        assert not np.allclose(accuracy, SyntheticAccuracy(space, 2)(genomes))
        assert ((accuracy > 0) & (accuracy < 1)).all()
        assert np.ptp(accuracy) > 0.05

    def test_what_is_skipped_changes_nothing_and_every_active_group_does(self, space: SearchSpace) -> None:
        truth, rng = SyntheticAccuracy(space, 1), np.random.default_rng(1)
        genomes = space.sample(200, rng)
        active = space.active(genomes)
        for group in space.groups:
            other = genomes.copy()
            other[:, group.members] = group.rows[rng.integers(len(group.rows), size=len(genomes))]
            same = (space.canonical(other) == genomes).all(axis=1)
            moved = truth(space.canonical(other)) != truth(genomes)
            assert not moved[same].any()
            changed = active[:, group.members[0]] & ~same
            assert not changed.any() or moved[changed].mean() > 0.9

    def test_genes_interact(self, space: SearchSpace) -> None:
        """The gain of one change depends on another one."""
        truth = SyntheticAccuracy(space, 1)
        largest = space.extremes()[1:]
        names = ("stage0.block0.width", "stage0.block1.kernel")
        first, second = (space.position[name] for name in names)
        four = np.repeat(largest, 4, axis=0)
        four[[1, 3], first] = 0
        four[[2, 3], second] = 0
        a, b, c, d = np.log(truth(space.canonical(four)))
        assert abs((d - c) - (b - a)) > 1e-6


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_turn_clocks_as_many_candidates_of_both(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch, ours_first: bool
) -> None:
    monkeypatch.setattr(search_speed, "_POPULATION", 20)
    monkeypatch.setattr(search_speed, "_PAIRS", (40, 30))
    predictor = search_speed.fitted(space, 0, {"members": 1, "epochs": 1, "steps": 1})
    order: list[str] = []
    for name in ("search", "stock_nsga2"):
        told = functools.partial(_told, order, name, getattr(search_speed, name))
        monkeypatch.setattr(search_speed, name, told)
    ours, theirs = search_speed.turn(space, predictor, cost, 3, 0, ours_first)
    assert order == (["search", "stock_nsga2"] if ours_first else ["stock_nsga2", "search"])
    assert ours.candidates == theirs.candidates == 60
    for clock in (ours, theirs):
        assert 0 < clock.parts["forward"] + clock.parts["costs"] < clock.total
    figures = search_speed.summary([(ours, theirs)])
    assert figures["times_pymoo"] < figures["bound_times_pymoo"]
    assert figures["total_over_forward"] > 1


def _told(order: list[str], name: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    order.append(name)
    return work(*arguments, **named)


def test_both_searches_are_first_in_turn(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[bool] = []

    def turn(*arguments: Any) -> tuple[search_speed.Clock, search_speed.Clock]:
        first.append(arguments[-1])
        clocks = search_speed.Clock(2.0, {"forward": 1.0, "costs": 0.5}, 9), search_speed.Clock(4.0, candidates=9)
        return clocks

    compiled = SimpleNamespace(cost=cost)
    device = SimpleNamespace(restrict=lambda space: space, compile=lambda space: compiled)
    monkeypatch.setattr(search_speed, "bitfusion", lambda: device)
    monkeypatch.setattr(search_speed, "fitted", lambda *_: None)
    monkeypatch.setattr(search_speed, "turn", turn)
    search_speed.run(True, 3, Reporters())
    predictors = len(first) // 3
    assert first == [True] * predictors + [False] * predictors + [True] * predictors


def problem_on(space: SearchSpace) -> Problem:
    return Problem(space, ("top1", "latency_ms"), SyntheticAccuracy(space, 1), cost)


class Watched(Problem):
    """Keeps what it was asked."""

    asked: list[Genomes]

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.asked.append(self.space.check(genomes))
        return super().evaluate(genomes)


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_scores_different_candidates_up_to_the_last(space: SearchSpace, name: str) -> None:
    problem = problem_on(space)
    watched = Watched(space, problem.objectives, problem.predict, problem.cost)
    watched.asked = []
    F = all_scored(RIVALS[name], watched, 90, 20, 0)
    every = np.concatenate(watched.asked)
    assert F.shape == (90, 2)
    assert len(np.unique(every, axis=0)) == len(every) == 90
    np.testing.assert_allclose(F, problem.evaluate(every).F, rtol=1e-12)
    np.testing.assert_array_equal(all_scored(RIVALS[name], problem, 90, 20, 0), F)


def test_a_ledger_answers_again_for_nothing(space: SearchSpace) -> None:
    ledger, problem = Ledger(problem_on(space), 30), problem_on(space)
    genomes = space.sample(20, np.random.default_rng(0))
    twice = np.concatenate([genomes, genomes])
    for _ in range(3):
        np.testing.assert_allclose(ledger.score(twice), problem.evaluate(twice).F, rtol=1e-12)
    with pytest.raises(SpentError):
        ledger.score(space.sample(20, np.random.default_rng(1)))
    assert len(ledger.objectives) == 30


def test_every_genome_is_every_point_once(space: SearchSpace) -> None:
    fixed = search_quality.small_space(space, 6)
    every = search_quality.every_genome(fixed)
    np.testing.assert_array_equal(fixed.check(every), every)
    assert len(every) == fixed.size() > 50


def test_fronts_are_measured_in_one_box_and_compared_seed_by_seed() -> None:
    probes = np.array([[4.0, 4.0]])
    ours, theirs = np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([[2.0, 2.0]])
    fronts = {
        "ours": [ours, theirs],
        "ours_unseeded": [theirs, theirs],
        "a": [theirs, ours],
        "b": [theirs, theirs],
    }
    figures = search_quality.compared(fronts, probes)
    assert figures["hypervolume_ours"] == pytest.approx((12 / 16 + 4 / 16) / 2)
    assert figures["hypervolume_b"] == pytest.approx(4 / 16)
    assert figures["seeds_above_every_rival"] == 1
    assert figures["times_best_rival"] == pytest.approx((3 + 1 / 3) / 2)
    assert figures["times_best_rival_least"] == pytest.approx(1 / 3)
    assert figures["unseeded_times_best_rival"] == pytest.approx((1 + 1 / 3) / 2)


def test_they_are_registered() -> None:
    assert {"search-quality", "search-speed"} <= set(BENCHMARKS.names())
