"""What a search offers below a limit: the few best by prediction are measured, and the best of these is taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.study import Study
from bitfront.search.front import Front
from bitfront.supernet.genes import Genomes

MEASURED = 5
"""How many candidates below each limit are measured on the validation split, where nothing else is said."""
_TOLERANCE = 1 + 1e-9

Floats = NDArray[np.float64]


def best_below(study: Study, front: Front, metric: str, limits: Floats, measured: int = MEASURED) -> Genomes:
    """Of each limit the member (n_limits, n_genes) that is to be deployed there.

    Of those whose predicted ``metric`` is no more than the limit, the ``measured`` with the best predicted
    accuracy are measured. Of all that were measured, below this limit or a lower one, that is taken which is most
    accurate on the validation split. The test split is not looked at.
    """
    rows = [_best_predicted(front, metric, limit, measured) for limit in limits]
    every = np.unique(np.concatenate(rows))
    known, valid = front.predicted[metric][every], study.top1(front.genomes[every], "validation")
    met = [meeting(known, limit) for limit in limits]
    result: Genomes = front.genomes[[every[each[np.argmax(valid[each])]] for each in met]]
    return result


def _best_predicted(front: Front, metric: str, limit: float, most: int) -> NDArray[np.intp]:
    met = meeting(front.predicted[metric], limit)
    order = np.argsort(-front.predicted["top1"][met], kind="stable")
    result: NDArray[np.intp] = met[order[:most]]
    return result


def meeting(values: Floats, limit: float) -> NDArray[np.intp]:
    """Places of values (n,) that are no more than a limit, which may be one of them after a round trip."""
    return np.flatnonzero(values <= limit * _TOLERANCE)


def common_limits(fronts: list[Front], metric: str, points: int) -> Floats:
    """Limits (points,) in equal ratios: from the least at which every front has something to the most of any."""
    values = [front.predicted[metric] for front in fronts]
    return np.geomspace(max(each.min() for each in values), max(each.max() for each in values), points)
