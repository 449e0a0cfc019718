"""How much of what was learned is believed: fitted where pairs were not seen, and cross-fitted for intervals.

Factors are learned, too. What is said of a pair that was not seen is made with the factor that the other folds ask
for, or intervals of few pairs would be too narrow (for 25 of them they held 77 % instead of 90).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Folds = NDArray[np.intp]


def shrunk(unseen: Floats, values: Floats, fold: Folds, mean: float) -> tuple[float, Floats]:
    """The factor, 0 to 1, on differences from ``mean`` that fits best in least squares, and what is then unseen.

    Args:
        unseen: what is said of pairs (n,) by fits that have not seen them.
        values: what they are, (n,).
        fold: which were left out together, (n,).
        mean: around which the fit will be made smaller.
    """
    said = np.empty_like(unseen)
    for one in np.unique(fold):
        own, others = fold == one, fold != one
        centre = float(values[others].mean()) if others.any() else mean
        said[own] = centre + _factor(unseen[others] - centre, values[others] - centre) * (unseen[own] - centre)
    return _factor(unseen - mean, values - mean), said


def stacked(first: Floats, second: Floats, values: Floats, fold: Folds, excess: Floats) -> tuple[float, Floats]:
    """The share of ``second``, 0 to 1, with which the mean of both fits best, and what both say unseen, (n,).

    Where ``first`` comes from single networks and a mean of several will be asked, it is better than it looks
    here: by the ``excess`` of the variance, which adds as much to its squared distance from the second as to the
    product of that with what it misses.

    Args:
        first: what one of them says of pairs (n,) that it has not seen.
        second: the same of the other.
        values: what they are, (n,).
        fold: which were left out together, (n,).
        excess: variance of ``first`` beyond that of what will be asked, (n,).
    """
    apart, missing, said = second - first, values - first, np.empty_like(first)
    for one in np.unique(fold):
        own, others = fold == one, fold != one
        said[own] = first[own] + _factor(apart[others], missing[others], float(excess[others].sum())) * apart[own]
    return _factor(apart, missing, float(excess.sum())), said


def _factor(said: Floats, values: Floats, excess: float = 0.0) -> float:
    """By which what is said comes nearest to the values (n,); 0 to 1."""
    square = float(said @ said) - excess
    return float(np.clip((said @ values - excess) / square, 0.0, 1.0)) if square > 1e-30 else 0.0
