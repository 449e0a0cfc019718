"""What a front costs where it is as accurate as another one: measured members, held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.study import Study
from bitfront.search.archive import non_dominated
from bitfront.search.front import Front
from bitfront.supernet.genes import Genomes

MOST = 0.8
"""The share of a rival's members that need an equal for a ratio to speak of the rival."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredFront:
    """Members of a front that are no worse than another one by what was measured.

    Attributes:
        valid, test: measured accuracies, (n,).
        costs: what the device's table says of each, by metric, (n,).
        offered: whether each was put forward by each of the fronts that it was chosen from, (n, n_fronts): by none
            where it stands beside them, by several where these have it in common. None where that is not known.
    """

    valid: Floats
    test: Floats
    costs: dict[str, Floats]
    offered: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        study: Study,
        fronts: Sequence[Front],
        metric: str,
        most: int,
        least_top1: float = 0.0,
        most_top1: float = 1.0,
        also: Sequence[Genomes] = (),
    ) -> MeasuredFront:
        """Up to ``most`` members of all fronts together, spread over them, and genomes beside these, measured.

        Those stay that no other one beats both in accuracy on the validation split and in ``metric``. Members that
        are predicted to be less accurate than ``least_top1`` are passed over, as long as a front has others; of
        these, those are that are predicted to be more accurate than ``most_top1``, as long as some are not.
        """
        each = [_within(front, least_top1, most_top1) for front in fronts]
        spread = [front.genomes[front.spread(most // len(fronts))] for front in each]
        genomes = np.unique(np.concatenate([*spread, *also]), axis=0)
        valid, costs = study.top1(genomes, "validation"), study.costs.cost(genomes)
        kept = non_dominated(np.stack([1.0 - valid, costs[metric]], axis=1))
        genomes = genomes[kept]
        offered = np.stack([(genomes[:, None] == own).all(axis=2).any(axis=1) for own in spread], axis=1)
        test = study.top1(genomes, "test")
        return cls(valid[kept], test, {name: values[kept] for name, values in costs.items()}, offered)

    def front(self, metric: str) -> MeasuredFront:
        """Those members that no other one beats in accuracy on the validation split and in a metric."""
        kept = non_dominated(np.stack([1.0 - self.valid, self.costs[metric]], axis=1))
        costs = {name: values[kept] for name, values in self.costs.items()}
        offered = None if self.offered is None else self.offered[kept]
        return MeasuredFront(self.valid[kept], self.test[kept], costs, offered)


def _within(front: Front, least: float, most: float) -> Front:
    top1 = front.predicted["top1"]
    enough = front.take(top1 >= min(least, top1.max()))
    top1 = enough.predicted["top1"]
    return enough.take(top1 <= max(most, top1.min()))


def equals(rival: MeasuredFront, ours: MeasuredFront, metric: str) -> NDArray[np.intp]:
    """(place in ``rival``, place in ``ours``), (n, 2): ours is the cheapest by ``metric`` that is as accurate.

    Judged on the validation split; members of ``rival`` that nothing in ``ours`` equals are left out.
    """
    pairs = []
    for place, valid in enumerate(rival.valid):
        enough = np.flatnonzero(ours.valid >= valid)
        if len(enough):
            pairs.append((place, int(enough[np.argmin(ours.costs[metric][enough])])))
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def ratios(rival: MeasuredFront, ours: MeasuredFront, name: str, metric: str) -> dict[str, float]:
    """How many times as much the rival's members cost as ours of equal accuracy.

    Figures' names begin with ``name_metric``. A member that is on its front by luck of the validation split asks
    more of an equal than it is worth. So either side has its turn at being equalled, and the ratio is the
    geometric mean of both; where nothing of ours is equalled it is that of one side.

    Beside it stand, of the rival's members that ours equal, the largest ratio, what the change costs or brings on
    the test split, by which nothing was chosen, how many they are (``equals``), and which share of all
    (``equalled``). Where there are none, nothing else is known.
    """
    pairs, back = equals(rival, ours, metric), equals(ours, rival, metric)[:, ::-1]
    name = f"{name}_{metric}"
    figures = {f"{name}_equals": float(len(pairs)), f"{name}_equalled": len(pairs) / len(rival.valid)}
    if not len(pairs):
        return figures
    theirs, own = pairs.T
    turns = [np.log(rival.costs[metric][r] / ours.costs[metric][o]) for r, o in (pairs.T, back.T) if len(r)]
    return figures | {
        f"{name}_ratio": float(np.exp(np.mean([turn.mean() for turn in turns]))),
        f"{name}_largest_ratio": float(np.exp(turns[0].max())),
        f"{name}_test_top1_gain": float((ours.test[own] - rival.test[theirs]).mean()),
    }
