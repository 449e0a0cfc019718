"""Factors that are fitted where pairs were not seen, against least squares, and without bias for new pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from bitfront.predictors.stacking import shrunk, stacked


@given(st.integers(0, 1000))
def test_factors_are_those_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, fold = rng.normal(size=30), rng.permutation(30) % 5
    first, second = (values + rng.uniform(0.1, 2) * rng.normal(size=30) for _ in range(2))
    share, _ = stacked(first, second, values, fold, np.zeros(30))
    theirs = minimize_scalar(lambda w: np.mean((first + w * (second - first) - values) ** 2), (0, 1), (0, 1))
    assert share == pytest.approx(np.clip(theirs.x, 0, 1), abs=1e-4)
    mean = float(values.mean())
    factor, _ = shrunk(first, values, fold, mean)
    theirs = minimize_scalar(lambda f: np.mean((mean + f * (first - mean) - values) ** 2), (0, 1), (0, 1))
    assert factor == pytest.approx(np.clip(theirs.x, 0, 1), abs=1e-4)


def test_the_better_one_gets_more() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    good, bad = values + 0.2 * rng.normal(size=400), values + rng.normal(size=400)
    fold = rng.permutation(400) % 5
    assert stacked(bad, good, values, fold, np.zeros(400))[0] == pytest.approx(1 / 1.04, abs=0.05)
    assert stacked(good, bad, values, fold, np.zeros(400))[0] == pytest.approx(0.04 / 1.04, abs=0.05)
    assert stacked(good, good, values, fold, np.zeros(400))[0] == 0.0


def test_the_share_suits_the_mean_of_members_and_not_one_of_them() -> None:
    """The unseen values of the first come from one member each, of five whose mean will be asked."""
    rng, n = np.random.default_rng(0), 2000
    values = rng.normal(size=n)
    bias, members = 0.3 * rng.normal(size=n), 0.8 * rng.normal(size=(5, n))
    mean, single = values + bias + members.mean(axis=0), values + bias + members[0]
    second, fold = values + 0.5 * rng.normal(size=n), rng.permutation(n) % 5
    excess = members.var(axis=0, ddof=1) * 0.8
    best, _ = stacked(mean, second, values, fold, np.zeros(n))
    assert stacked(single, second, values, fold, excess)[0] == pytest.approx(best, abs=0.05)
    assert stacked(single, second, values, fold, np.zeros(n))[0] > best + 0.1


@pytest.mark.parametrize("folds", [5, 25])
def test_nothing_is_gained_where_there_is_nothing_to_learn(folds: int) -> None:
    """Residuals of unseen pairs are no smaller than those of new ones: factors are fitted without the pair."""
    rng, n = np.random.default_rng(0), 25
    shrinking, stacking = [], []
    for _ in range(400):
        values, fold = rng.normal(size=n), rng.permutation(n) % folds
        one, other = rng.normal(size=(2, n))
        shrinking.append(np.mean(np.square(shrunk(one, values, fold, float(values.mean()))[1] - values)))
        stacking.append(np.mean(np.square(stacked(np.zeros(n), other, values, fold, np.zeros(n))[1] - values)))
    assert np.mean(shrinking) > 1.0  # the variance of a new value, and more, as its centre is not known either
    assert np.mean(stacking) > 1.0


def test_one_fold_alone_is_left_at_the_mean() -> None:
    values = np.array([1.0, 2.0, 3.0])
    factor, said = shrunk(values, values, np.zeros(3, dtype=np.intp), 2.0)
    assert factor == 1.0
    assert said == pytest.approx([2.0, 2.0, 2.0])
