from __future__ import annotations

import numpy as np
import pytest

from bitfront.search.selection import best_in_directions, nearest, parents, tournament


def test_the_fitter_of_two_wins_a_tournament() -> None:
    winners = tournament(10, (40_000,), np.random.default_rng(0))
    share = np.bincount(winners, minlength=10) / len(winners)
    expected = np.array([(10 - i) ** 2 - (9 - i) ** 2 for i in range(10)]) / 100
    np.testing.assert_allclose(share, expected, atol=0.01)
    assert tournament(1, (3, 2), np.random.default_rng(0)).tolist() == [[0, 0]] * 3


def test_directions_reach_both_ends_and_pass_over_what_is_worse() -> None:
    x = np.linspace(0.0, 1.0, 20)
    front = np.stack([x, 1 - x], axis=1)
    worse = np.minimum(front + 0.3, 1.0)
    chosen = best_in_directions(np.concatenate([front, worse]), np.zeros(40), 5000, np.random.default_rng(1))
    assert (chosen < 20).mean() > 0.75
    counts = np.bincount(chosen, minlength=40)
    assert (counts[:20] > 0).all()
    assert counts[0] > 5000 / 40, "an end is better for many directions"


def test_the_infeasible_lose_and_the_least_infeasible_wins_among_them() -> None:
    scaled = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    rng = np.random.default_rng(2)
    assert set(best_in_directions(scaled, np.array([0.1, 0.0, 0.2]), 3000, rng).tolist()) >= {1}
    share = np.bincount(best_in_directions(scaled, np.array([0.1, 0.0, 0.2]), 3000, rng), minlength=3) / 3000
    assert share[1] == pytest.approx(1 - (2 / 3) ** 6, abs=0.03)
    assert share[0] == pytest.approx((2 / 3) ** 6 - (1 / 3) ** 6, abs=0.03)


def test_the_nearest_suitor_is_taken_but_never_the_mother_herself() -> None:
    scaled = np.array([[0.0, 1.0], [0.1, 0.9], [0.9, 0.1], [1.0, 0.0]])
    suitors = np.array([[0, 3, 1], [0, 3, 2], [3, 3, 3]])
    assert nearest(scaled, np.array([0, 1, 3]), suitors).tolist() == [1, 0, 3]


@pytest.mark.parametrize("k", [1, 2, 30])
@pytest.mark.parametrize("m", [1, 2, 4])
def test_parents_are_members(k: int, m: int) -> None:
    rng = np.random.default_rng(3)
    F = rng.random((k, m)) * np.array([1.0, 1e9, 1e-9, 1.0])[:m]
    mothers, fathers = parents(F, np.where(rng.random(k) < 0.5, 0.0, rng.random(k)), 200, rng)
    assert mothers.shape == fathers.shape == (200,)
    assert set(mothers.tolist()) | set(fathers.tolist()) <= set(range(k))
    if k == 30:
        assert (mothers != fathers).mean() > 0.99


def test_equal_members_are_no_trouble() -> None:
    mothers, _ = parents(np.ones((5, 2)), np.zeros(5), 100, np.random.default_rng(4))
    assert len(set(mothers.tolist())) == 5
