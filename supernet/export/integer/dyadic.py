"""Real ratios and biases as dyadic numbers: whole numbers over powers of two (HAWQ-V3, Yao et al. 2021, eq. 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.program import Rescale

_MULTIPLIER_BITS = 31
_MOST_SHIFT = 62
# Of the 63 bits of a sum, one is left to the bias and one to the product.
_OFFSET_BITS = 61

LARGEST_BIAS = 2.0**30
"""Of the result's units, either way."""
LARGEST_RATIO = 2.0**29


def rescale(ratio: NDArray[np.float64], bias: NDArray[np.float64] | None = None) -> Rescale:
    """What computes x * ratio + bias, rounded half up, as precisely as 31 bits of each hold.

    Args:
        ratio: shape (channels,), 0 to 2**29.
        bias: shape (channels,), in units of the result, below 2**30 either way; none by default.
    """
    bias = np.zeros_like(ratio) if bias is None else bias
    # An offset has to fit in 61 bits, whatever the ratio.
    most = np.floor(_OFFSET_BITS - np.log2(np.abs(bias) + 1.0)).clip(1, _MOST_SHIFT)
    shift = np.minimum(_exact_shift(ratio), most)
    multiplier = np.rint(np.ldexp(ratio, shift.astype(np.int64))).clip(0, 2.0**_MULTIPLIER_BITS - 1)
    fraction = int(min(shift.min(), _MULTIPLIER_BITS - 1 - np.ceil(np.log2(np.abs(bias).max() + 1.0))))
    return Rescale(
        multiplier.astype(np.int32),
        shift.astype(np.uint8),
        np.rint(np.ldexp(bias, max(fraction, 0))).astype(np.int32),
        max(fraction, 0),
    )


def _exact_shift(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shift at which a multiplier has all of its 31 bits; the most where the ratio is too small for that."""
    _, exponent = np.frexp(ratio)
    shift = np.where(ratio > 0, _MULTIPLIER_BITS - 1.0 - exponent, _MOST_SHIFT)
    return np.asarray(shift.clip(1, _MOST_SHIFT), dtype=np.float64)


def common_shift(ratio_a: float, ratio_b: float) -> tuple[int, int, int]:
    """(Multiplier of a, multiplier of b, shift): a * ratio_a + b * ratio_b over one power of two."""
    shift = int(_exact_shift(np.array([max(ratio_a, ratio_b)]))[0])
    most = 2**_MULTIPLIER_BITS - 1
    return min(round(ratio_a * 2**shift), most), min(round(ratio_b * 2**shift), most), shift
