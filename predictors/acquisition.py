"""Which candidates to measure next, so that more is learned from them than from as many random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.numeric import NumericFeatures
from bitfront.predictors.surrogate import Surrogate
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]
Acquisition = Callable[[Surrogate, Genomes, Floats], Floats]
"""Says how far each of canonical genomes (n, n_genes), expected to have accuracies (n,), is from being of
interest, (n,), in accuracy; half widths are weighed against it.
"""


def disagreement(surrogate: Surrogate, candidates: Genomes, mean: Floats) -> Floats:
    """All are of interest: those of which least is known are chosen (uncertainty sampling)."""
    return np.zeros(len(candidates))


def front(surrogate: Surrogate, candidates: Genomes, mean: Floats) -> Floats:
    """How far candidates are below the front of all, of expected accuracy over operations or over bytes, whichever
    is nearer: the upper end of an interval counts from there (upper confidence bound, Srinivas et al. 2010).
    """
    below = [below_front(mean, cost) for cost in costs(surrogate.inputs.features.space, candidates)]
    return np.asarray(np.min(below, axis=0), dtype=np.float64)


ACQUISITIONS: Mapping[str, Acquisition] = {"disagreement": disagreement, "front": front}


def acquired(
    surrogate: Surrogate,
    candidates: Genomes,
    n: int,
    acquisition: Acquisition,
    random: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Rows (up to n,) of the candidates to measure: random ones, then the most promising, one after the other.

    After each it is as if that one were measured, so that the next ones are not its neighbours.

    Args:
        surrogate: what is known.
        candidates: different canonical genomes, (m, n_genes); none of them is measured yet.
        n: how many are wanted; all where there are no more.
        acquisition: one of `ACQUISITIONS`.
        random: how many of them are random, and come first: they keep it honest where it is wrongly sure.
        rng: draws these.
    """
    n = min(n, len(candidates))
    outlook = surrogate.outlook(candidates)
    away = acquisition(surrogate, candidates, outlook.mean)
    rows = [int(row) for row in rng.permutation(len(candidates))[: min(random, n)]]
    for row in rows:
        outlook.measure(row)
    while len(rows) < n:
        worth = outlook.half_width - away
        worth[rows] = -np.inf
        rows.append(int(np.argmax(worth)))
        outlook.measure(rows[-1])
    return np.array(rows, dtype=np.intp)


def costs(space: SearchSpace, genomes: Genomes) -> tuple[Floats, Floats]:
    """Logarithms of multiply-accumulates and of bytes of weights of canonical genomes (n, n_genes), each (n,)."""
    sizes, smaller = (part.astype(np.float64) for part in NumericFeatures(space)(genomes))
    return sizes[:, 0], sizes[:, 1] - np.log(2) * smaller[:, 0]


def below_front(accuracy: Floats, cost: Floats) -> Floats:
    """How much less accurate each of n is than the best that costs no more, (n,); 0: on the front."""
    order = np.lexsort((-accuracy, cost))
    below = np.empty(len(accuracy))
    below[order] = np.maximum.accumulate(accuracy[order]) - accuracy[order]
    return below
