"""Which candidates to measure next, so that more is learned from them than from as many random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.numeric import NumericFeatures
from bitfront.predictors.surrogate import Outlook, Surrogate
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]
Acquisition = Callable[[Surrogate, Genomes, Outlook], Floats]
"""Says how much it matters to know each of canonical genomes (n, n_genes), of which so much is expected: (n,)."""
_REFERENCES = 1000


def disagreement(surrogate: Surrogate, candidates: Genomes, outlook: Outlook) -> Floats:
    """All matter alike."""
    return np.ones(len(candidates))


def front(surrogate: Surrogate, candidates: Genomes, outlook: Outlook) -> Floats:
    """Those matter that may be on the front of all, of accuracy over operations or over bytes: the upper end of
    their interval reaches the accuracy that is expected there.
    """
    below = [below_front(outlook.mean, cost) for cost in costs(surrogate.inputs.features.space, candidates)]
    return np.asarray(np.min(below, axis=0) <= outlook.half_width, dtype=np.float64)


ACQUISITIONS: Mapping[str, Acquisition] = {"disagreement": disagreement, "front": front}


def acquired(
    surrogate: Surrogate,
    candidates: Genomes,
    n: int,
    acquisition: Acquisition,
    random: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Rows (up to n,) of the candidates to measure: random ones, then those that teach most, one after the other.

    What a candidate teaches is by how much measuring it makes the variance of what is believed of those that
    matter smaller, in sum (Cohn et al. 1996, "Active learning with statistical models"); not how unsure it is
    itself, as the most unsure ones are odd. After each it is as if that one were measured.

    Args:
        surrogate: what is known.
        candidates: different canonical genomes, (m, n_genes); none of them is measured yet.
        n: how many are wanted; all where there are no more.
        acquisition: one of `ACQUISITIONS`.
        random: how many of them are random, and come first: they keep it honest where it is wrongly sure.
        rng: draws these, and up to 1,000 candidates by which is told what teaches most.
    """
    n = min(n, len(candidates))
    outlook = surrogate.outlook(candidates)
    matter = acquisition(surrogate, candidates, outlook)
    rows = [int(row) for row in rng.permutation(len(candidates))[: min(random, n)]]
    references = rng.spawn(1)[0].permutation(len(candidates))[:_REFERENCES]
    lessons = _Lessons(outlook, references, matter)
    for row in rows:
        lessons.measure(row)
    while len(rows) < n:
        worth = lessons.worth()
        worth[rows] = -np.inf
        rows.append(int(np.argmax(worth)))
        lessons.measure(rows[-1])
    return np.array(rows, dtype=np.intp)


class _Lessons:
    """What measuring each of m candidates would teach about some of them."""

    def __init__(self, outlook: Outlook, references: NDArray[np.intp], matter: Floats) -> None:
        self._outlook = outlook
        self._references = references
        self._matter = matter[references]
        self._shared = outlook.covariance(references)

    def measure(self, row: int) -> None:
        """Suppose that this candidate is measured."""
        factor = self._outlook.measure(row)
        self._shared -= factor[:, None] * factor[self._references]

    def worth(self) -> Floats:
        """By how much the weighted sum of the references' variances would become smaller, (m,)."""
        shared = np.square(self._shared) @ self._matter
        return np.asarray(shared / self._outlook.measured_variance, dtype=np.float64)


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
