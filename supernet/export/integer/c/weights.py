"""Weights in the order in which kernels read them, and as bytes (see kernels/weights.c and kernels/dense.c)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.program import Conv

LANES = 16
"""Channels that are worked on side by side."""
_EIGHT = 8


def stored(conv: Conv) -> NDArray[np.uint8]:
    """Bytes of a convolution's weights."""
    parts = [_taps(conv.weight)] if is_depthwise(conv) else _panels(conv.weight)
    return np.concatenate([packed(codes, conv.weight_bits) for codes in parts])


def is_depthwise(conv: Conv) -> bool:
    """Whether each channel has weights for itself alone."""
    return conv.groups > 1


def inputs_of(conv: Conv) -> int:
    """Weights of one channel of a dense convolution, an even number."""
    count = int(np.prod(conv.weight.shape[1:]))
    return count + count % 2


def packed(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Codes (n,) of ``bits`` bits, in parts of 8, 4, 2 and 1 bits, after filling up n to a multiple of 8."""
    filled = np.concatenate([codes, np.zeros(-len(codes) % _EIGHT, np.int8)])
    values = (filled.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
    parts, done = [], 0
    for width in (8, 4, 2, 1):
        if bits & width:
            part = (values >> done) & ((1 << width) - 1)
            rows = part.reshape(_EIGHT // width, -1)
            parts.append(np.bitwise_or.reduce([row << (i * width) for i, row in enumerate(rows)]))
            done += width
    return np.concatenate(parts).astype(np.uint8)


def _taps(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    return weight.reshape(len(weight), -1).T.reshape(-1)


def _panels(weight: NDArray[np.int8]) -> list[NDArray[np.int8]]:
    rows = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    pairs = rows.reshape(len(rows), -1, 2).transpose(1, 0, 2)
    return [pairs[:, first : first + LANES].reshape(-1) for first in range(0, len(rows), LANES)]
