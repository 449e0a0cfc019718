"""What the benchmarks of searches over true evaluations compare."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.benchmarks.iterated import evaluations_needed
from bitfront.experiments.benchmarks.joint_vs_sequential import Pair, latency_points, volumes
from bitfront.search.front import Front

REFERENCE = np.array([1.0, 10.0])


def front(*points: tuple[float, float]) -> Front:
    top1, latency = np.array(points).T
    genomes = np.arange(len(points), dtype=np.uint8)[:, None]
    return Front.of(
        ("top1", "latency_ms"), genomes, {"top1": top1, "latency_ms": latency}, ids=np.arange(len(points))
    )


def test_evaluations_are_counted_until_the_share_is_reached() -> None:
    plain = [np.array([[0.5, 4.0]]), np.array([[0.2, 2.0]])]
    worse, enough = np.array([[0.9, 9.0], [0.6, 6.0]]), np.array([[0.2, 2.0]])
    assert evaluations_needed(plain, [worse, enough, enough], REFERENCE) == 3
    assert evaluations_needed(plain, [worse, worse], REFERENCE) == 8, "never: twice what was spent"


def test_the_share_is_of_the_hypervolume_that_plain_ends_with() -> None:
    """0.8 x 8 of the box is the end; what dominates 0.95 of that is enough, and a little less is not."""
    plain = [np.array([[0.2, 2.0]])]
    enough, short = (np.array([[1.0 - 0.8 * share, 2.0]]) for share in (0.951, 0.949))
    assert evaluations_needed(plain, [short, enough], REFERENCE) == 2
    assert evaluations_needed(plain, [short, short], REFERENCE) == 4


def test_seeds_are_won_by_hypervolume() -> None:
    good, bad = front((0.9, 2.0)), front((0.8, 2.0))
    figures = volumes([Pair(good, bad), Pair(bad, good), Pair(good, good)], REFERENCE)
    assert figures["seeds_with_larger_joint_hypervolume"] == 1.0
    assert figures["joint_hypervolume"] == pytest.approx((0.9 * 0.8 * 2 + 0.8 * 0.8) / 3)
    assert figures["least_hypervolume_ratio"] == pytest.approx(8 / 9)


def test_every_front_has_something_at_every_latency() -> None:
    pairs = [Pair(front((0.5, 1.0), (0.9, 8.0)), front((0.6, 2.0), (0.8, 4.0)))]
    np.testing.assert_allclose(latency_points(pairs), 2.0 * np.sqrt(2.0) ** np.arange(5))


@pytest.mark.parametrize("name", ["iterated", "joint-vs-sequential"])
def test_they_are_registered(name: str) -> None:
    assert callable(BENCHMARKS.get(name))
