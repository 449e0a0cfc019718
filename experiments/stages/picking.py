"""Which member of a front is exported where nobody chose one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import base_metric
from bitfront.search.front import Front
from bitfront.search.problem import minimised


def ranked_members(front: Front, pick: str) -> list[int]:
    """Places of the members that are not dominated: the ``best`` (most accurate) or ``knee`` first, and so on.

    Where accuracy has devices, the best has the highest sum of it. Members whose accuracy nobody knows come last;
    where that is so of all, the best is that of the first objective. The knee is nearest to the ideal point, in
    objectives scaled to 0..1 over the members.
    """
    rows = np.flatnonzero(~front.dominated)
    if pick == "best":
        accuracies = [values for name, values in front.best_known.items() if base_metric(name) == "top1"]
        first = front.objectives[0]
        total = np.sum(accuracies, axis=0) if accuracies else np.full(len(front), np.nan)
        if np.isnan(total[rows]).all():
            total = -minimised(first, front.best_known[first])
        return _sorted(rows, np.where(np.isnan(total), np.inf, -total)[rows])
    F = np.stack([minimised(name, front.best_known[name][rows]) for name in front.objectives], axis=1)
    span = np.ptp(F, axis=0)
    scaled = (F - F.min(axis=0)) / np.where(span > 0, span, 1.0)
    return _sorted(rows, np.square(scaled).sum(axis=1))


def _sorted(rows: NDArray[np.intp], by: NDArray[np.float64]) -> list[int]:
    order: list[int] = rows[np.argsort(by, kind="stable")].tolist()
    return order
