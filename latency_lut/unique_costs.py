"""What the different blocks of a space cost; each is worked out once, in whichever slots it may stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.latency_lut.peak_memory import demanded_bits, live_set, peak_bytes
from bitfront.latency_lut.profile_plan import output_shape
from bitfront.latency_lut.table import Table
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import layer_bytes

DEVICE_FREE_COSTS = ("size_bytes", "macs", "bitops")
"""Summed costs that any device gives, as they follow from shapes and formats."""
PEAK_MEMORY = "peak_memory_bytes"

Demand = tuple[str, int]
"""What a block demands of the one before: the format of its input, and the bits in which that is to be stored."""


class UniqueCosts:
    """Blocks by op key, in the order in which they were added, with their costs on one device.

    ``names`` are the costs that `costs` gives: the device's, those that any device gives, and peak memory.
    ``missing``: op keys of the blocks for which `costs` found nothing in the table.
    """

    def __init__(self, device_costs: Sequence[str], table: Table) -> None:
        self.names = (*device_costs, *DEVICE_FREE_COSTS, PEAK_MEMORY)
        self.missing: list[str] = []
        self._device_costs, self._table = tuple(device_costs), table
        self._blocks: dict[str, Block] = {}
        self._places: dict[str, int] = {}
        self._free: dict[str, tuple[float, ...]] = {}

    def add(self, block: Block) -> int:
        """The place of a block among the unique ones."""
        key = op_key(block)
        place = self._places.setdefault(key, len(self._places))
        if place == len(self._blocks):
            self._blocks[key] = block
        return place

    def demands(self) -> list[Demand]:
        """What each block demands of its predecessor."""
        return [(asked_for(block), demanded_bits(block)) for block in self._blocks.values()]

    def estimated(self) -> NDArray[np.bool_]:
        """Whether each block's cost rests on an interpolated entry, shape (blocks,)."""
        return np.array([self._table.is_estimated(key, block) for key, block in self._blocks.items()], dtype=bool)

    def costs(self, demands: Sequence[Demand]) -> NDArray[np.float64]:
        """Costs of each block before each demand of a successor, shape (blocks, demands, costs); NaN: missing."""
        costs = np.empty((len(self._blocks), len(demands), len(self.names)))
        costs[:, :, :-1] = np.array([self._summed(key, block) for key, block in self._blocks.items()])[:, None]
        costs[:, :, : len(self._device_costs)] += self._borders(demands)
        costs[:, :, -1] = self._peaks(demands)
        return costs

    def _summed(self, key: str, block: Block) -> list[float]:
        entry = self._table.cost_of(key, block)
        if entry is None:
            self.missing.append(key)
            return [np.nan] * (len(self.names) - 1)
        free = zip(*map(self._of_layer, block.layers), strict=True)
        return [*(entry[cost] for cost in self._device_costs), *map(sum, free)]

    def _of_layer(self, layer: Layer) -> tuple[float, ...]:
        key = layer_key(layer)
        if key not in self._free:
            weight, activation = FORMATS.get(layer.weight_format), FORMATS.get(layer.activation_format)
            bitops = layer.macs * weight.storage_bits * activation.storage_bits
            self._free[key] = (layer_bytes(layer), layer.macs, bitops)
        return self._free[key]

    def _borders(self, demands: Sequence[Demand]) -> NDArray[np.float64]:
        """What is added for a change of format, shape (blocks, demands, device costs); few borders differ."""
        ends: dict[tuple[int, int, str], int] = {}
        end = [
            ends.setdefault((*output_shape(block), handed_over(block)), len(ends))
            for block in self._blocks.values()
        ]
        found = np.zeros((len(ends), len(demands), len(self._device_costs)))
        for shape_and_format, i in ends.items():
            for j, (asked, _) in enumerate(demands):
                row = self._table.borders.get(border_key(*shape_and_format, asked))
                if row is not None:
                    found[i, j] = [row[cost] for cost in self._device_costs]
        borders: NDArray[np.float64] = found[end]
        return borders

    def _peaks(self, demands: Sequence[Demand]) -> NDArray[np.float64]:
        lives = [live_set(block) for block in self._blocks.values()]
        return np.array([[peak_bytes(live, bits) for _, bits in demands] for live in lives])
