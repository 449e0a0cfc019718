from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.search.archive import non_dominated
from bitfront.search.spread import spread


def front(n: int, m: int, seed: int) -> NDArray[np.float64]:
    F = np.random.default_rng(seed).random((n * 4, m)) * np.array([1.0, 1e6, 1e-3, 1.0][:m])
    return np.asarray(F[non_dominated(F)])


@given(n=st.integers(1, 30), m=st.integers(2, 4), seed=st.integers(0, 99), k=st.integers(1, 20))
def test_takes_k_different_members_with_the_best_of_each_objective(n: int, m: int, seed: int, k: int) -> None:
    F = front(n, m, seed)
    chosen = spread(F, k)
    assert len(set(chosen.tolist())) == len(chosen) == min(k, len(F))
    assert chosen.tolist() == sorted(chosen.tolist())
    if k >= m:
        np.testing.assert_array_equal(F[chosen].min(axis=0), F.min(axis=0))


def test_smallest_gap_is_at_least_half_the_best_possible() -> None:
    """The guarantee of farthest-first choice (Gonzalez 1985), against all choices that hold both extremes."""

    def gap(points: NDArray[np.float64]) -> float:
        return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(points, 2))

    for seed in range(20):
        x = np.sort(np.random.default_rng(seed).random(9))
        x = (x - x[0]) / (x[-1] - x[0])
        F = np.stack([x, 1 - x], axis=1)
        best = max(gap(F[[0, *inner, 8]]) for inner in itertools.combinations(range(1, 8), 2))
        assert gap(F[spread(F, 4)]) >= best / 2


def test_evenly_spaced_members_are_taken_evenly() -> None:
    x = np.linspace(0, 1, 9)
    assert spread(np.stack([x, 1 - x], axis=1), 3).tolist() == [0, 4, 8]
    assert spread(np.stack([x, 1 - x], axis=1), 5).tolist() == [0, 2, 4, 6, 8]


def test_equal_members_come_last_but_come() -> None:
    F = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.4, 0.4]])
    assert spread(F, 3).tolist() == [0, 2, 4]
    assert len(set(spread(F, 4).tolist())) == 4
    assert spread(F, 9).tolist() == [0, 1, 2, 3, 4]


def test_an_objective_without_a_span_does_not_disturb() -> None:
    F = np.array([[3.0, 1.0], [3.0, 2.0], [3.0, 3.0]])
    assert spread(F, 2).tolist() == [0, 2]


def test_refuses_to_choose_none() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        spread(np.ones((3, 2)), 0)
