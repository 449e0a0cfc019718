"""Who mates with whom, on whole batches: good parents, and fathers that resemble their mothers.

Half of the mothers win a binary tournament; the others are the best of a few for a random direction in objective
space (augmented Chebyshev, as in Jaszkiewicz 2002), which pulls the ends of the front outwards. A father is, of a
few tournament winners, the one nearest to the mother in objective space (mating restriction, Ishibuchi et al.
2008): what makes a small network good and what makes a large one good seldom go together.
"""

from __future__ import annotations

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats

_SUITORS = 12
_DIRECTED = 6
_SUM_WEIGHT = 0.05
_INFEASIBLE = 10.0


def parents(F: Floats, violation: Floats, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Places of ``n`` mothers and their fathers among members, given from the fittest to the least fit.

    ``F`` (k, m): the members' objectives, k > 0; ``violation`` (k,): their summed violation, 0 where feasible.
    """
    scaled = (F - F.min(axis=0)) / np.maximum(np.ptp(F, axis=0), np.finfo(np.float64).tiny)
    directed = best_in_directions(scaled, violation, n, rng)
    mothers = np.where(rng.random(n) < 0.5, directed, tournament(len(F), (n,), rng))
    return mothers, nearest(scaled, mothers, tournament(len(F), (n, _SUITORS), rng))


def tournament(k: int, shape: tuple[int, ...], rng: np.random.Generator) -> Rows:
    """Winners of binary tournaments among ``k`` members in order of fitness, so that the lower place wins."""
    winners: Rows = np.minimum(rng.integers(k, size=shape), rng.integers(k, size=shape))
    return winners


def best_in_directions(scaled: Floats, violation: Floats, n: int, rng: np.random.Generator) -> Rows:
    """For each of ``n`` random directions the best of a few members; ``scaled`` (k, m) goes from 0 to 1."""
    drawn = rng.integers(len(scaled), size=(n, _DIRECTED))
    directions = rng.dirichlet(np.ones(scaled.shape[1]), size=n)
    worst, total = np.zeros(drawn.shape), np.zeros(drawn.shape)
    for column, weight in zip(scaled.T, directions.T, strict=True):  # faster than reducing over a short axis
        weighted = column[drawn] * weight[:, None]
        np.maximum(worst, weighted, out=worst)
        total += weighted
    missed = violation[drawn]
    best = np.where(missed > 0, _INFEASIBLE + missed, worst + _SUM_WEIGHT * total).argmin(axis=1)
    winners: Rows = drawn[np.arange(n), best]
    return winners


def nearest(scaled: Floats, mothers: Rows, suitors: Rows) -> Rows:
    """For each mother (n,) the nearest of her suitors (n, s) that is not herself, if there is one."""
    distance = np.zeros(suitors.shape)
    for column in scaled.T:
        distance += np.square(column[suitors] - column[mothers][:, None])
    distance[suitors == mothers[:, None]] = np.inf
    fathers: Rows = suitors[np.arange(len(mothers)), distance.argmin(axis=1)]
    return fathers
