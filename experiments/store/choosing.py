"""Which candidates of many are asked for: the first in an order, and few that stand for all in a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.store.filters import COMPARE, Filter

_BELOW_ONE = 1 - 1e-9  # the largest value belongs to the last cell, not to one behind it


def meeting(where: Iterable[Filter], values: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.bool_]:
    """Which of ``n`` candidates meet every filter; one without the metric (NaN) meets none."""
    met = np.ones(n, dtype=bool)
    for one in where:
        met &= COMPARE[one.op](values[one.metric], float(one.value))
    return met


def first_in_order(
    values: NDArray[Any],
    numbers: NDArray[np.int64],
    met: NDArray[np.bool_],
    limit: int,
    descending: bool = False,
    after: tuple[float, float] | None = None,
) -> NDArray[np.intp]:
    """Places of the first ``limit`` candidates in the order of (value, number), of those that ``met``.

    ``numbers`` (n,) ascend; of ``values`` (n,), NaN are left out. ``after``: only behind this value and number.
    """
    keys, ids = (-values, -numbers) if descending else (values, numbers)
    met = met & ~np.isnan(values)
    if after is not None:
        value, number = (-after[0], -after[1]) if descending else after
        met &= (keys > value) | ((keys == value) & (ids > number))
    places = np.flatnonzero(met)
    if len(places) > limit:
        places = _smallest(keys, places, limit, descending)
    return places[np.lexsort((ids[places], keys[places]))]


def _smallest(keys: NDArray[Any], places: NDArray[np.intp], limit: int, descending: bool) -> NDArray[np.intp]:
    """The ``limit`` smallest keys; of those that equal the last one, which may be most, no more than needed."""
    mine = keys[places]
    last = np.partition(mine, limit - 1)[limit - 1]
    below, equal = places[mine < last], places[mine == last]
    missing = limit - len(below)
    return np.concatenate([below, equal[-missing:] if descending else equal[:missing]])


def first_of_cells(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first point of each cell of a grid of at most ``most`` cells over points (n,), and each cell's count."""
    side = math.isqrt(max(most, 1))
    cells = _cell(x, side) * side + _cell(y, side)
    counts = np.bincount(cells, minlength=side * side)
    first = np.zeros(side * side, dtype=np.intp)
    first[cells[::-1]] = np.arange(len(x) - 1, -1, -1)  # of many written to one place the last stays
    held = np.flatnonzero(counts)
    return first[held], counts[held]


def _cell(values: NDArray[np.float64], side: int) -> NDArray[np.intp]:
    """The number of the cell, 0 .. side - 1, in which each value lies."""
    if not len(values):
        return np.zeros(0, dtype=np.intp)
    halves = values / 2  # the span of the largest numbers is none of them
    from_low = halves - halves.min()
    width = from_low.max()
    if not width:
        return np.zeros(len(values), dtype=np.intp)
    cells: NDArray[np.intp] = (from_low / width * (side * _BELOW_ONE)).astype(np.intp)
    return cells
