"""Which of several ways to make candidates pays: the more survive, the more often a way is taken.

Probability matching (Goldberg 1990; Thierens 2005): shares follow decayed rates of success, with a floor so that
none is given up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DECAY, _FLOOR, _PRIOR = 0.9, 0.3, 20.0
_LEAST = 1e-6

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]


class Credit:
    """Shares of ``ways``. ``counts`` (2, ways), how often each was taken and paid, is all that it remembers."""

    def __init__(self, ways: int) -> None:
        self.counts = np.full((2, ways), _PRIOR)

    @property
    def shares(self) -> Floats:
        """How often each way should be taken, (ways,); they sum up to 1, none below 0.3 of an equal share."""
        used, paid = self.counts
        rates = np.maximum(paid / used, _LEAST)  # where nothing pays for very long, what is left has no digits
        shares: Floats = _FLOOR / len(rates) + (1 - _FLOOR) * rates / rates.sum()
        return shares

    def draw(self, n: int, rng: np.random.Generator) -> Picks:
        """Ways for ``n`` candidates, (n,)."""
        return rng.choice(len(self.shares), size=n, p=self.shares)

    def learn(self, ways: Picks, paid: NDArray[np.bool_]) -> None:
        """Take in what came of candidates: the way each was made, (n,), and whether that paid."""
        n = self.counts.shape[1]
        fresh = np.stack([np.bincount(ways, minlength=n), np.bincount(ways[paid], minlength=n)])
        self.counts = _DECAY * self.counts + fresh + (1 - _DECAY) * _PRIOR * np.array([[1.0], [self._rate(fresh)]])

    def _rate(self, fresh: NDArray[np.int64]) -> float:
        """What is believed of a way that was never taken: what all together came to."""
        used, paid = self.counts.sum(axis=1) + fresh.sum(axis=1)
        return float(paid / used)
