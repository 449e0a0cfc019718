"""What the bench of samples compares."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bitfront.experiments.benchmarks import BENCHMARKS, sampling
from bitfront.experiments.benchmarks.pools import Pool
from bitfront.experiments.benchmarks.sampling import Outcome, near_front
from bitfront.experiments.benchmarks.sampling_plot import sampling_figure
from bitfront.predictors.acquisition import ACQUISITIONS, below_front, costs
from bitfront.predictors.baselines.ridge import RidgePredictor
from bitfront.predictors.collection import RANDOM, Collected
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.learning_curve import LearningCurve, Point, enough
from bitfront.supernet.spaces.mbconv import MBConvSpace

CURVES = tuple(LearningCurve((Point(n // 2, 0.88), Point(n, 0.9))) for n in (50, 70))


def pairs(space: MBConvSpace, n: int, seed: int, real: bool) -> Pairs:
    genomes = space.sample(4 * n, np.random.default_rng(seed), "sizes")
    if real:
        genomes = space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    genomes = np.random.default_rng(seed).permutation(np.unique(genomes, axis=0))[:n]
    gain = (genomes * space.active(genomes)) @ np.random.default_rng(0).uniform(0.2, 1, space.n_genes)
    return Pairs(genomes, 0.2 + gain / 100)


@pytest.fixture(scope="module")
def tiny_pool(tiny_space: MBConvSpace) -> Pool:
    return Pool(
        tiny_space,
        pairs(tiny_space, 200, 1, True),
        pairs(tiny_space, 20, 2, True),
        pairs(tiny_space, 160, 3, False),
        pairs(tiny_space, 60, 4, False),
    )


def outcome(space: MBConvSpace, n: int, accuracy: float, near: float = 0.8) -> Outcome:
    part = Collected(pairs(space, n, 0, False), CURVES, enough(CURVES, 0.5))
    return Outcome(part, part, accuracy, near, 0.01)


def test_figures_and_goals(tiny_space: MBConvSpace) -> None:
    one = {
        "all": outcome(tiny_space, 100, 0.95),
        "stopped": outcome(tiny_space, 60, 0.94),
        RANDOM: outcome(tiny_space, 20, 0.9, 0.8),
        **{way: outcome(tiny_space, 20, 0.92, 0.85) for way in ACQUISITIONS},
    }
    figures, goals = sampling._figures("digits", [one, one])
    assert figures["digits_saved"] == pytest.approx(0.4)
    assert figures["digits_lost"] == pytest.approx(0.01)
    assert figures["digits_front_gain"] == pytest.approx(0.02)
    assert figures["digits_disagreement_gain_near_front"] == pytest.approx(0.05)
    assert set(re.findall(r"(\w+) [<>]", " ".join(goals))) <= set(figures)
    assert {"digits_saved_low >= 0.3", "digits_lost_high <= 0.01"} <= set(goals)
    assert {goal for goal in goals if "gain" in goal} == {
        f"digits_{way}_{gain}_low > 0" for way in ACQUISITIONS for gain in ("gain", "gain_near_front")
    }
    assert sampling_figure([sampling._panel("digits", [one, one])]).startswith(b"\x89PNG")


def test_near_the_front_are_those_least_below_it(tiny_pool: Pool) -> None:
    held_out = tiny_pool.quantized_held_out
    below = np.min([below_front(held_out.accuracy, cost) for cost in costs(tiny_pool.space, held_out.genomes)], 0)
    rows = near_front(tiny_pool)
    assert len(rows) == 18
    assert below[rows].max() <= np.delete(below, rows).min()


def test_ways_are_judged_by_as_many_samples(tiny_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MLPPredictor", RidgePredictor)  # as good a judge, and much quicker
    found = dict(sampling._outcomes(tiny_pool, 0, 1 / 5))
    assert set(found) == {"all", "stopped", RANDOM, *ACQUISITIONS}
    assert found["all"].measured == 360
    assert found["stopped"].measured < 360
    assert {found[way].measured for way in (RANDOM, *ACQUISITIONS)} == {72}
    for one in found.values():
        assert 0 <= one.accuracy <= 1
        assert one.regret >= 0


def test_it_is_registered() -> None:
    assert "sampling" in BENCHMARKS.names()
