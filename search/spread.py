"""Which members of a front to measure first: a few that lie far apart."""

from __future__ import annotations

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats


def spread(F: Floats, k: int) -> Rows:
    """Places of ``k`` rows of ``F`` (n, m) that lie far apart, ascending; all of them where n <= k.

    The best row of each objective comes first (ties are settled by the other objectives), then always the row
    that is farthest from those chosen so far, in objectives scaled to 0..1 (Gonzalez 1985).

    Raises:
        ValueError: ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"can not choose {k} candidates: at least 1")
    if len(F) <= k:
        return np.arange(len(F), dtype=np.intp)
    span = np.ptp(F, axis=0)
    scaled = (F - F.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys(_best_of(scaled, column) for column in range(F.shape[1])))[:k]
    nearest = np.min([_distance(scaled, row) for row in chosen], axis=0)
    while len(chosen) < k:
        nearest[chosen] = -1.0  # equal points have distance 0 and may be chosen, chosen ones may not
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distance(scaled, chosen[-1]))
    return np.sort(np.array(chosen, dtype=np.intp))


def _best_of(scaled: Floats, column: int) -> int:
    best = np.flatnonzero(scaled[:, column] == scaled[:, column].min())
    return int(best[np.argmin(scaled[best].sum(axis=1))])


def _distance(scaled: Floats, row: int) -> Floats:
    distance: Floats = np.square(scaled - scaled[row]).sum(axis=1)
    return distance
