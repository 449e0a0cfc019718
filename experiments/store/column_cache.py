"""Columns that were read before, so that a question reads only what was added since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 256 * 2**20

Block = tuple[int, NDArray[Any]]
"""The number of its first candidate, and its values."""
Key = tuple[object, ...]


@dataclass(slots=True)
class _Kept:
    buffer: NDArray[Any]
    length: int  # so many values lie in blocks that can not change any more
    until: int  # the number of the first candidate of the block behind them


class ColumnCache:
    """Values of whole blocks, the least recently used left out where they would take more than ``most_bytes``.

    Only the last block of a column changes, and only by getting longer: kept are the values of those before
    it. A reader that sees the experiment as it was earlier finds no block where they end, and reads all.
    Threads may share it: what several write to one place of a buffer at once is the same.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def until(self, key: Key) -> int:
        """The first candidate of the first block that has to be read; 0 where nothing is kept."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return 0
            self._kept.move_to_end(key)
            return kept.until

    def column(self, key: Key, until: int, blocks: Sequence[Block]) -> NDArray[Any] | None:
        """The column: what was kept before ``until``, and the blocks from there on; none where that is lost.

        Blocks follow each other, and the last one is the column's last.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.until != until:
                if until:
                    return None
                kept = _Kept(np.empty(0, blocks[0][1].dtype), 0, 0)
            return self._extended(key, kept, blocks)

    def _extended(self, key: Key, kept: _Kept, blocks: Sequence[Block]) -> NDArray[Any]:
        length = kept.length + sum(len(values) for _, values in blocks)
        if length > len(kept.buffer):
            buffer = np.empty(length + length // 4, kept.buffer.dtype)
            buffer[: kept.length] = kept.buffer[: kept.length]
            kept = _Kept(buffer, kept.length, kept.until)
        at = kept.length
        for _, values in blocks:
            kept.buffer[at : at + len(values)] = values
            at += len(values)
        self._kept[key] = _Kept(kept.buffer, length - len(blocks[-1][1]), blocks[-1][0])
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(one.buffer.nbytes for one in self._kept.values()) > self._most_bytes:
            self._kept.popitem(last=False)
        column = kept.buffer[:length]
        column.flags.writeable = False
        return column
