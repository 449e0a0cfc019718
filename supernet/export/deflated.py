"""Texts as tensors, deflated (zlib, RFC 1950), as they would take a tenth of a small network's file."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 4 << 20


def deflated(document: dict[str, Any]) -> NDArray[np.uint8]:
    """The tensor (n,) of a JSON document; the same document gives the same bytes by the same zlib."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return np.frombuffer(zlib.compress(text.encode(), 9), np.uint8)


def inflated(tensor: NDArray[np.uint8], most: int = _MOST_BYTES) -> bytes:
    """The text in a tensor (n,); no more than ``most`` bytes are ever unpacked.

    Raises:
        ValueError: it is no such text, is cut off, has something behind it, or is longer.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(tensor.tobytes(), most)
    except zlib.error as error:
        raise ValueError(f"its text can not be unpacked ({error})") from error
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"its text is cut off, has something behind it, or is longer than {most:,} bytes")
    return text
