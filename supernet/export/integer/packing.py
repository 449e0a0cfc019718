"""Codes of few bits, one after the other without gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that so many codes of so many bits take."""
    return (count * bits + 7) // 8


def pack(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Codes from -2**(bits-1) to 2**(bits-1) - 1 in two's complement, lowest bit first, in `packed_bytes`."""
    rows = np.unpackbits(codes.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    return np.packbits(rows[:, :bits].reshape(-1), bitorder="little")


def unpack(data: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.int8]:
    """The first ``count`` codes of what `pack` made."""
    rows = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    # The highest bit says the sign: it is repeated up to the eighth.
    filled = np.concatenate([rows, np.repeat(rows[:, -1:], 8 - bits, axis=1)], axis=1)
    return np.packbits(filled, axis=1, bitorder="little").reshape(-1).view(np.int8)
