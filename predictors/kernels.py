"""A covariance between one-hot genomes, and which of its kind makes measured values likeliest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LENGTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
_NOISES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Matern's covariance of unit variance, once differentiable (nu = 3/2; Rasmussen and Williams 2006, eq. 4.17).

    Attributes:
        length: distance over which values are alike.
        noise: variance of what is measured at the same point, as a multiple of that of the process.
    """

    length: float
    noise: float

    def between(self, a: Floats, b: Floats) -> Floats:
        """Covariance (n, m) of points (n, d) and (m, d), without noise."""
        return _matern(squared_distances(a, b), self.length)

    def of(self, points: Floats) -> Floats:
        """Covariance (n, n) of what is measured at points (n, d): with noise."""
        return self.between(points, points) + self.noise * np.eye(len(points))


@dataclass(frozen=True, slots=True)
class Likeliest:
    """A kernel, the variance of the process that goes with it, and its errors (n,) at points left out in turn."""

    kernel: Kernel
    variance: float
    errors: Floats


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Between points (n, d) and (m, d), shape (n, m)."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * a @ b.T, 0.0), dtype=np.float64)


def scale_of(points: Floats) -> float:
    """The factor that brings points (n, d) to a mean squared distance of 1 from their centre; 1 of equal ones."""
    total = float(points.var(axis=0).sum())
    return total**-0.5 if total > 0 else 1.0


def likeliest(points: Floats, residuals: Floats) -> Likeliest:
    """The kernel of a grid under which residuals (n,) at points (n, d) are likeliest when each is left out.

    The variance of the process, which does not move its mean, follows from the same errors (Rasmussen and
    Williams 2006, equations 5.10 to 5.12).
    """
    distances = squared_distances(points, points)
    best, found = -math.inf, Likeliest(Kernel(_LENGTHS[0], _NOISES[-1]), 0.0, residuals)
    for length in _LENGTHS:
        values, vectors = np.linalg.eigh(_matern(distances, length))
        projected, squares = vectors.T @ residuals, np.square(vectors)
        for noise in _NOISES:
            inverse = 1 / (np.maximum(values, 0.0) + noise)
            precision = squares @ inverse
            errors = (vectors @ (inverse * projected)) / precision
            variance = float(np.mean(np.square(errors) * precision))
            likelihood = float(np.log(precision).sum()) - len(errors) * math.log(max(variance, 1e-300))
            if likelihood > best:
                best, found = likelihood, Likeliest(Kernel(length, noise), variance, errors)
    return found


def _matern(squared: Floats, length: float) -> Floats:
    scaled = np.sqrt(3 * squared) / length
    return np.asarray((1 + scaled) * np.exp(-scaled), dtype=np.float64)
