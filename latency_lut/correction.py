"""From the sum of a network's blocks to the whole network: an affine correction, fitted on measured networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.table import Correction


def fit_correction(sums: NDArray[np.float64], measured: NDArray[np.float64]) -> Correction:
    """Offset >= 0 and scale > 0 with the least squared relative error, from shapes (n,) > 0.

    Where the networks do not tell both (too few, too alike), or the best offset would be negative, only a scale
    is fitted: no network may come out at a cost of 0 or less.
    """
    design = np.stack([np.ones_like(sums), sums], axis=1) / measured[:, None]
    (offset, scale), _, rank, _ = np.linalg.lstsq(design, np.ones_like(measured), rcond=None)
    if rank == 2 and offset >= 0 and scale > 0:
        return Correction(float(offset), float(scale))
    ratio = sums / measured
    return Correction(0.0, float(ratio.sum() / (ratio**2).sum()))


def mean_relative_error(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Mean absolute error as a fraction of the measured value (MAPE), from shapes (n,)."""
    return float(np.abs(predicted / measured - 1).mean())
