"""Samples collected in rounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.predictors import collection
from bitfront.predictors.acquisition import ACQUISITIONS
from bitfront.predictors.collection import RANDOM, Collected, Plan, collected, learning_curve
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.learning_curve import LearningCurve, enough
from bitfront.predictors.surrogate import Surrogate
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.mbconv import MBConvSpace

WAYS = (RANDOM, *ACQUISITIONS)


class Oracle:
    """Accuracies that are easy to learn, or nothing but noise; remembers what it was asked."""

    def __init__(self, space: MBConvSpace, noise: float = 0.001) -> None:
        self.space = space
        self.noise = noise
        self.rounds: list[Genomes] = []

    def __call__(self, genomes: Genomes) -> NDArray[np.float64]:
        self.rounds.append(genomes)
        gain = (genomes * self.space.active(genomes)) @ np.random.default_rng(0).uniform(0.2, 1, genomes.shape[1])
        own = [np.random.default_rng(list(genome.tobytes())).standard_normal() for genome in genomes]
        return np.clip(0.2 + gain / 100 + self.noise * np.array(own), 0, 1)


def drawn(space: MBConvSpace, n: int) -> Genomes:
    rng = np.random.default_rng(0)
    return rng.permutation(np.unique(space.sample(2 * n, rng, "sizes"), axis=0))[:n]


def real(space: MBConvSpace) -> Genomes:
    """Its architectures, in fp32."""
    genomes = space.sample(5000, np.random.default_rng(0), "sizes")
    genomes = space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    return np.random.default_rng(0).permutation(np.unique(genomes, axis=0))


def done(
    space: MBConvSpace, oracle: Oracle, plan: Plan, candidates: int = 300, fp32: Pairs | None = None
) -> Collected:
    return collected(space, drawn(space, candidates), oracle, plan, np.random.default_rng(1), fp32)


@given(st.integers(1, 3000), st.sampled_from([None, 0.01]), st.sampled_from(WAYS))
def test_rounds_grow_to_the_budget(budget: int, tolerance: float | None, choose: str) -> None:
    rounds = Plan(budget, tolerance, choose).rounds
    assert rounds[-1] == budget
    assert all(one < other <= 1.45 * one + 1 for one, other in itertools.pairwise(rounds))
    assert (len(rounds) == 1) is ((tolerance is None and choose == RANDOM) or budget <= 30)


@pytest.mark.parametrize("choose", WAYS)
def test_without_a_stop_the_whole_budget_is_measured_once(tiny_space: MBConvSpace, choose: str) -> None:
    oracle = Oracle(tiny_space)
    found = done(tiny_space, oracle, Plan(70, None, choose))
    asked = np.concatenate(oracle.rounds)
    assert len(found.pairs) == len(asked) == len(np.unique(asked, axis=0)) == 70
    assert found.pairs.genomes.tolist() == asked.tolist()
    assert found.pairs.accuracy == pytest.approx(Oracle(tiny_space)(asked))
    assert found.verdict is None


def test_random_ones_are_the_first_of_the_candidates(tiny_space: MBConvSpace) -> None:
    for tolerance in (None, 1e-9):
        found = done(tiny_space, Oracle(tiny_space), Plan(60, tolerance))
        assert found.pairs.genomes.tolist() == drawn(tiny_space, 300)[:60].tolist()


@pytest.mark.parametrize("choose", sorted(ACQUISITIONS))
def test_half_of_each_round_is_random_and_the_rest_is_not(tiny_space: MBConvSpace, choose: str) -> None:
    oracle = Oracle(tiny_space)
    done(tiny_space, oracle, Plan(60, None, choose))
    candidates = drawn(tiny_space, 300)
    assert [len(asked) for asked in oracle.rounds] == [30, 8, 10, 12]
    assert oracle.rounds[0].tolist() == candidates[:30].tolist()
    left, rng = candidates[30:], np.random.default_rng(1)
    for asked in oracle.rounds[1:]:
        order = left[rng.permutation(len(left))].tolist()
        half = len(asked) // 2
        assert asked[:half].tolist() == order[:half]
        assert asked[half:].tolist() != order[half : 2 * half]
        left = np.array([genome for genome in left if genome.tolist() not in asked.tolist()])


@pytest.mark.parametrize("choose", WAYS)
def test_curves_are_judged_by_random_ones(
    tiny_space: MBConvSpace, choose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges: list[NDArray[np.bool_]] = []

    def spied(surrogate: Surrogate, drawn: NDArray[np.bool_], rng: np.random.Generator) -> LearningCurve:
        judges.append(drawn)
        return learning_curve(surrogate, drawn, rng)

    monkeypatch.setattr(collection, "learning_curve", spied)
    done(tiny_space, Oracle(tiny_space), Plan(60, 1e-9, choose))
    chosen = [] if choose == RANDOM else [*range(34, 38), *range(43, 48)]
    assert [np.flatnonzero(~judge).tolist() for judge in judges] == [[], chosen[:4], chosen]
    assert [len(judge) for judge in judges] == [30, 38, 48]


def test_the_last_sample_that_can_be_had_is_where_curves_are_compared(tiny_space: MBConvSpace) -> None:
    for candidates, most in ((300, 100), (60, 60)):
        found = done(tiny_space, Oracle(tiny_space), Plan(100, 1e-9), candidates)
        assert found.verdict == enough(found.curves, 1e-9, most)
        assert found.verdict.goal == found.curves[-1].expected(most) != found.curves[-1].asymptote()


@pytest.mark.parametrize("choose", WAYS)
def test_the_same_again_is_the_same(tiny_space: MBConvSpace, choose: str) -> None:
    one, other = (done(tiny_space, Oracle(tiny_space), Plan(60, 0.001, choose)) for _ in range(2))
    assert one.pairs.hash() == other.pairs.hash()
    assert one.curves == other.curves


def test_what_is_soon_learned_stops_soon(tiny_space: MBConvSpace) -> None:
    candidates = real(tiny_space)
    plan = Plan(len(candidates), 0.02)
    found = collected(tiny_space, candidates, Oracle(tiny_space), plan, np.random.default_rng(1))
    assert found.verdict is not None
    assert found.verdict.stop
    assert len(found.pairs) == found.verdict.n == found.curves[-1].n < len(candidates)
    assert found.verdict.accuracy > 0.9


def test_what_can_not_be_learned_has_a_curve_of_guesses(tiny_space: MBConvSpace) -> None:
    """Pairs of pure noise are put in order by chance alone: no accuracy is of pairs learned from."""
    found = done(tiny_space, Oracle(tiny_space, noise=10.0), Plan(250, 1e-9))
    accuracy = [point.accuracy for curve in found.curves for point in curve.points]
    assert np.mean(accuracy) == pytest.approx(0.5, abs=0.06)


def test_a_tolerance_of_nearly_nothing_measures_all(tiny_space: MBConvSpace) -> None:
    found = done(tiny_space, Oracle(tiny_space), Plan(100, 1e-9))
    assert len(found.pairs) == 100
    assert found.verdict is not None
    assert not found.verdict.stop
    assert found.curves[-1].n < 100


def test_fewer_candidates_than_wanted(tiny_space: MBConvSpace) -> None:
    for choose in WAYS:
        assert len(done(tiny_space, Oracle(tiny_space), Plan(100, 1e-9, choose), candidates=50).pairs) == 50


def test_fp32_pairs_make_quantized_ones_easier(tiny_space: MBConvSpace) -> None:
    architectures = real(tiny_space)[:150]
    fp32 = Pairs(architectures, Oracle(tiny_space)(architectures))
    alone, transferred = (done(tiny_space, Oracle(tiny_space), Plan(60, 1e-9), fp32=one) for one in (None, fp32))
    assert transferred.curves[0].expected(30) > alone.curves[0].expected(30)


def test_points_of_a_curve_are_what_parts_say_of_others(tiny_space: MBConvSpace) -> None:
    genomes = real(tiny_space)[:60]
    surrogate = Surrogate.fit(tiny_space, Pairs(genomes, Oracle(tiny_space)(genomes)))
    drawn = np.arange(60) % 2 == 0
    curve = learning_curve(surrogate, drawn, np.random.default_rng(3), repeats=1)
    assert sorted(point.n for point in curve.points) == [15, 21, 30, 42, 60]
    known, rest = np.split(np.random.default_rng(3).permutation(60), [15])
    judged = rest[rest % 2 == 0]
    expected = surrogate.part_accuracy(known, judged)
    assert next(point.accuracy for point in curve.points if point.n == 15) == expected
    assert next(point.accuracy for point in curve.points if point.n == 60) == surrogate.left_out_accuracy(drawn)


@pytest.mark.parametrize("choose", WAYS)
def test_what_can_not_be_measured_is_left_out_and_made_up_for(tiny_space: MBConvSpace, choose: str) -> None:
    oracle, failing = Oracle(tiny_space), np.random.default_rng(7)
    failed = []

    def measure(genomes: Genomes) -> NDArray[np.float64]:
        accuracy = oracle(genomes)
        accuracy[failing.random(len(genomes)) < 0.1] = np.nan
        failed.append(int(np.isnan(accuracy).sum()))
        return accuracy

    plan = Plan(120, 1e-9, choose)
    found = collected(tiny_space, drawn(tiny_space, 300), measure, plan, np.random.default_rng(1))
    assert sum(failed) == found.failed > failed[-1] > 0
    assert len(found.pairs) == 120 - failed[-1]
    assert len(found.curves) == len(plan.rounds) - 1
    assert len(np.unique(np.concatenate(oracle.rounds), axis=0)) == 120 - failed[-1] + sum(failed)


@pytest.mark.parametrize("choose", WAYS)
@pytest.mark.parametrize("spare", [0, 2])
def test_where_no_others_are_left_there_are_fewer(tiny_space: MBConvSpace, choose: str, spare: int) -> None:
    oracle = Oracle(tiny_space)

    def measure(genomes: Genomes) -> NDArray[np.float64]:
        accuracy = oracle(genomes)
        accuracy[0] = np.nan
        return accuracy

    plan = Plan(120, 1e-9, choose)
    found = collected(tiny_space, drawn(tiny_space, 120 + spare), measure, plan, np.random.default_rng(1))
    assert found.failed == len(oracle.rounds) > spare + 1
    assert len(found.pairs) == 120 + spare - found.failed
    assert len(np.unique(np.concatenate(oracle.rounds), axis=0)) == 120 + spare
