"""The kernel and its likelihood, against scikit-learn and against leaving out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from bitfront.predictors.kernels import Kernel, likeliest, scale_of, squared_distances


@given(st.integers(0, 1000), st.sampled_from([0.5, 1.4, 8.0]))
def test_covariances_are_those_of_scikit_learn(seed: int, length: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    kernel = Kernel(length, 0.1)
    assert kernel.between(a, b) == pytest.approx(Matern(length, nu=1.5)(a, b), abs=1e-9)
    assert kernel.of(a) == pytest.approx(Matern(length, nu=1.5)(a) + 0.1 * np.eye(5), abs=1e-7)


def test_distances_are_not_below_zero() -> None:
    points = np.repeat(np.random.default_rng(0).standard_normal((1, 50)) * 1e3, 3, axis=0)
    assert (squared_distances(points, points) >= 0).all()


def test_scaled_points_lie_at_a_distance_of_one() -> None:
    points = np.random.default_rng(0).standard_normal((40, 7)) * 5 + 3
    scaled = points * scale_of(points)
    assert np.square(scaled - scaled.mean(axis=0)).sum(axis=1).mean() == pytest.approx(1)
    assert scale_of(np.ones((4, 2))) == 1


def values(points: np.ndarray, noise: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    raw = np.sin(2 * points[:, 0]) + points[:, 1] * points[:, 2] + noise * rng.standard_normal(len(points))
    return np.asarray(raw - raw.mean())


def test_errors_are_those_of_fits_without_the_point() -> None:
    points = np.random.default_rng(0).standard_normal((40, 3))
    residuals = values(points, 0.1)
    found = likeliest(points, residuals)
    for row in (0, 17, 39):
        others = np.delete(np.arange(40), row)
        theirs = GaussianProcessRegressor(
            Matern(found.kernel.length, nu=1.5), alpha=found.kernel.noise, optimizer=None
        ).fit(points[others], residuals[others])
        assert found.errors[row] == pytest.approx(residuals[row] - theirs.predict(points[[row]])[0], abs=1e-8)


def test_noise_is_recognized() -> None:
    points = np.random.default_rng(0).standard_normal((150, 3))
    clean, noisy = (likeliest(points, values(points, noise)) for noise in (0.0, 2.0))
    assert clean.kernel.noise < 0.1 < noisy.kernel.noise


def test_its_kernel_is_the_likeliest_of_those_near() -> None:
    points = np.random.default_rng(0).standard_normal((60, 3))
    residuals = values(points, 0.3)
    found = likeliest(points, residuals)

    def likelihood(kernel: Kernel) -> float:
        inverse = np.linalg.inv(kernel.of(points))
        errors, precision = inverse @ residuals / np.diag(inverse), np.diag(inverse)
        variance = np.mean(np.square(errors) * precision)
        return float(0.5 * np.sum(np.log(precision / variance) - np.square(errors) * precision / variance))

    best = likelihood(found.kernel)
    for length, noise in ((0.7, 0.1), (1.4, 0.03), (2.8, 0.3), (5.6, 1.0), (1.0, 0.01)):
        assert likelihood(Kernel(length, noise)) <= best + 1e-9


def test_equal_values_are_no_difficulty() -> None:
    points = np.random.default_rng(0).standard_normal((10, 3))
    assert likeliest(points, np.zeros(10)).errors == pytest.approx(np.zeros(10))
