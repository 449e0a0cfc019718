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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredFront:
    """Members of a front that are no worse than another one by what was measured.

    Attributes:
        valid, test: measured accuracies, (n,).
        costs: what the device's table says of each, by metric, (n,).
    """

    valid: Floats
    test: Floats
    costs: dict[str, Floats]

    @classmethod
    def of(
        cls, study: Study, fronts: Sequence[Front], metric: str, most: int, also: Sequence[Genomes] = ()
    ) -> MeasuredFront:
        """Up to ``most`` members of all fronts together, spread over them, and genomes beside these, measured.

        Those stay that no other one beats both in accuracy on the validation split and in ``metric``.
        """
        each = [front.genomes[front.spread(most // len(fronts))] for front in fronts]
        genomes = np.unique(np.concatenate([*each, *also]), axis=0)
        valid, costs = study.top1(genomes, "validation"), study.costs.cost(genomes)
        kept = non_dominated(np.stack([1.0 - valid, costs[metric]], axis=1))
        test = study.top1(genomes[kept], "test")
        return cls(valid[kept], test, {name: values[kept] for name, values in costs.items()})


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


def ratios(rival: MeasuredFront, ours: MeasuredFront, name: str, metrics: Sequence[str]) -> dict[str, float]:
    """How many times as much the rival's members cost as ours of equal accuracy, by each of ``metrics``.

    The pairs are those of the first metric. Beside the geometric mean and the largest ratio stands what the change
    costs or brings on the test split, by which nothing was chosen, and the members that have an equal: how many
    (``equals``), and which share of all (``equalled``). Where none has, nothing else is known.
    """
    pairs = equals(rival, ours, metrics[0])
    figures = {f"{name}_equals": float(len(pairs)), f"{name}_equalled": len(pairs) / len(rival.valid)}
    if not len(pairs):
        return figures
    theirs, own = pairs.T
    for metric in metrics:
        found = rival.costs[metric][theirs] / ours.costs[metric][own]
        figures |= {
            f"{name}_{metric}_ratio": float(np.exp(np.log(found).mean())),
            f"{name}_{metric}_largest_ratio": float(found.max()),
        }
    return figures | {f"{name}_test_top1_gain": float((ours.test[own] - rival.test[theirs]).mean())}
