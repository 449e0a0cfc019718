"""Which kinds of columns matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from bitfront.predictors import relevance as module
from bitfront.predictors.relevance import relevance


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first two columns matter, the other four do not."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, 6))
    return points, np.sin(2 * points[:, 0]) + points[:, 1] + 0.1 * rng.standard_normal(n)


KINDS = np.array([0, 0, 1, 1, 2, 2])


def test_what_matters_weighs_more() -> None:
    weights = relevance(*drawn(100, 0), KINDS)
    assert weights[0] > 2 * weights[1:].max()


def test_weights_stay_near_one_where_nothing_is_known() -> None:
    points, _ = drawn(12, 0)
    weights = relevance(points, np.random.default_rng(1).standard_normal(12), KINDS)
    assert weights == pytest.approx(np.ones(3), rel=0.5)


def test_equal_values_say_nothing() -> None:
    points, _ = drawn(20, 0)
    assert relevance(points, np.full(20, 0.3), KINDS).tolist() == [1, 1, 1]


def test_it_is_the_likelihood_of_scikit_learn() -> None:
    """Up to a constant, at the variance that maximises it."""
    points, values = drawn(30, 2)
    target, noise = (values - values.mean()) / values.std(), 0.2
    found = []
    for length in (0.7, 3.0):
        ours = module._unlikely(
            torch.from_numpy(points / length), torch.from_numpy(target), torch.tensor(np.log(noise))
        )
        kernel = Matern(length, nu=1.5) + WhiteKernel(noise + 1e-6)
        variance = target @ np.linalg.solve(kernel(points), target) / 30
        scaled = ConstantKernel(variance) * Matern(length, nu=1.5) + WhiteKernel(variance * (noise + 1e-6))
        theirs = GaussianProcessRegressor(scaled, optimizer=None, alpha=0).fit(points, target)
        found.append(float(ours) + theirs.log_marginal_likelihood_value_)
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_step_too_far_leaves_all_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object) -> torch.Tensor:
        found: torch.Tensor = torch.linalg.cholesky(-torch.eye(2))
        return found

    monkeypatch.setattr(module, "_unlikely", failed)
    assert relevance(*drawn(20, 0), KINDS).tolist() == [1, 1, 1]


def test_it_depends_on_no_chance() -> None:
    assert np.array_equal(relevance(*drawn(50, 3), KINDS), relevance(*drawn(50, 3), KINDS))
