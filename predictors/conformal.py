"""Half widths that hold what they promise: split and cross-conformal calibration.

A half width is a quantile of scores times the candidate's own difficulty, where a pair's score is its residual
(from a fit that has not seen it) over its difficulty (normalised conformal prediction, Papadopoulos et al. 2002;
cross-conformal, Vovk 2015). Difficulty is the disagreement of the members and a floor, since members that agree
can all be wrong, and measured accuracy is noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEAST_RESIDUAL = 1e-6  # no half width is 0, not even where every residual is


@dataclass(frozen=True, slots=True)
class Calibration:
    """``half_width = quantile * (spread + floor)``; all are fractions of accuracy but ``quantile``."""

    quantile: float
    floor: float

    @classmethod
    def of(cls, residuals: Floats, spreads: Floats, coverage: float) -> Self:
        """From n pairs, each (n,): residuals of fits that did not see the pair, and the spread there.

        The quantile is the ((n + 1) * coverage)-th smallest score, between two of them where that is no whole
        number, so that new pairs are held as often as ``coverage`` says and not more; the largest where there are
        too few.

        Raises:
            ValueError: there is no pair.
        """
        if not len(residuals):
            raise ValueError("intervals need at least one held-out pair")
        absolute = np.maximum(np.abs(residuals), _LEAST_RESIDUAL)
        floor = float(np.sqrt(np.mean(np.square(absolute))))
        scores = absolute / (spreads + floor)
        return cls(float(np.quantile(scores, coverage, method="weibull")), floor)

    def half_width(self, spreads: Floats) -> Floats:
        """Half widths (n,) of candidates with these spreads (n,)."""
        return self.quantile * (spreads + self.floor)
