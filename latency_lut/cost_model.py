"""A device and a space, compiled to dense arrays: costing candidates is a gather and a sum per slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import layer_key, op_key
from bitfront.latency_lut.peak_memory import LiveFold, LiveSet, live_set
from bitfront.latency_lut.slot_blocks import combinations, radices, slot_blocks
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import layer_bytes
from bitfront.supernet.space import SearchSpace, Slot

PEAK_MEMORY = "peak_memory_bytes"
DEVICE_FREE_COSTS = ("size_bytes", "macs", "bitops")
"""Summed costs that any device gives, as they follow from shapes and formats."""

_CHUNK = 4096
_MOST_COMBINATIONS = 1 << 24
_MOST_OFFENDERS = 5


@dataclass(frozen=True)
class SlotIndex:
    """Where in the flat cost array a genome's blocks stand.

    The row of slot s is ``offset[s] + genome @ radix[:, s]`` where the gene at position ``owner[s]`` is at least
    ``threshold[s]``, else 0. ``radix`` has shape (n_genes, slots), the others (slots,).
    """

    radix: NDArray[np.float32]
    offset: NDArray[np.float64]
    owner: NDArray[np.intp]
    threshold: NDArray[np.uint8]

    def rows(self, genomes: Genomes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """(rows, whether the slot is active), both of shape (slots, n)."""
        active = np.ascontiguousarray((genomes[:, self.owner] >= self.threshold).T)
        # Whole numbers below 2**24 are exact in float32, and only float products are fast.
        numbers = genomes.astype(np.float32) @ self.radix
        rows = (numbers + self.offset).astype(np.intp)
        return np.ascontiguousarray(rows.T) * active, active


@dataclass(frozen=True)
class CostModel:
    """Costs of candidates on one device.

    ``values`` has shape (rows, len(summed) + 5): per combination of a slot's genes its summed costs, then its
    `LiveSet`. Row 0 is the skipped block, which costs nothing. Rows that the device can not execute are NaN.
    """

    device: str
    summed: tuple[str, ...]
    index: SlotIndex
    values: NDArray[np.float64]
    correction: dict[str, Correction]

    @property
    def names(self) -> tuple[str, ...]:
        """The costs that `cost` gives."""
        return (*self.summed, PEAK_MEMORY)

    def cost(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Costs of canonical, valid genomes (n, n_genes), each of shape (n,).

        ``latency_ms`` and ``energy_mj`` are those of one call (where the device gives them); ``bitops`` are
        MACs times weight bits times activation bits; ``peak_memory_bytes`` is explained in `peak_memory`.

        Raises:
            UnsupportedError: a genome lies outside the (restricted) space that was compiled.
        """
        result = np.empty((len(self.names), len(genomes)))
        for start in range(0, len(genomes), _CHUNK):
            self._cost_chunk(genomes[start : start + _CHUNK], result[:, start : start + _CHUNK])
        self._refuse_nan(result)
        for row, name in enumerate(self.summed):
            if name in self.correction:
                result[row] = self.correction[name].offset + self.correction[name].scale * result[row]
        return dict(zip(self.names, result, strict=True))

    def _cost_chunk(self, genomes: Genomes, result: NDArray[np.float64]) -> None:
        rows, active = self.index.rows(genomes)
        sums, fold = result[:-1], LiveFold(len(genomes))
        sums[:] = 0
        for slot in reversed(range(len(rows))):
            # One gather fetches whole rows; turned once, all that follows runs over contiguous memory.
            gathered = np.ascontiguousarray(self.values.take(rows[slot], axis=0).T)
            sums += gathered[: len(sums)]
            fold.add(gathered[len(sums) :], active[slot])
        result[-1] = fold.peak_bytes

    def _refuse_nan(self, result: NDArray[np.float64]) -> None:
        bad = np.flatnonzero(np.isnan(result).any(0))
        if len(bad):
            raise UnsupportedError(
                f"{len(bad)} genomes, the first at row {bad[0]}, are outside what was compiled for device "
                f"{self.device!r}: sample from device.restrict(space), or pass them through its repair()"
            )


def compile_costs(space: SearchSpace, device: Device, table: Table) -> CostModel:
    """Look up every block that a (restricted) space can build on a device.

    Raises:
        InvalidTableError: the table is another device's or space's, or lacks blocks of this space; the message
            lists the first keys and their count.
        UnsupportedError: a slot has so many genes that it can not be tabulated.
    """
    _check_origin(space, device, table)
    summed = (*device.costs, *DEVICE_FREE_COSTS)
    sizes = [_checked_size(space, slot) for slot in space.slots]
    offset = 1 + np.concatenate([[0], np.cumsum(sizes)])
    values = np.full((offset[-1], len(summed) + len(LiveSet._fields)), np.nan)
    values[0] = 0
    rows, missing = _Rows(device.costs, table), dict[str, None]()
    for slot, start in zip(space.slots, offset[:-1], strict=True):
        for number, block in slot_blocks(space, slot, device):
            key = op_key(block)
            if key in table.entries:
                values[start + number] = rows.of(key, block)
            else:
                missing[key] = None
    _refuse_missing(list(missing), device)
    correction = {cost: table.corrected(cost) for cost in device.costs}
    return CostModel(device.name, summed, _slot_index(space, offset[:-1]), values, correction)


class _Rows:
    """Rows of the cost array by op key, each worked out once."""

    def __init__(self, costs: Sequence[str], table: Table) -> None:
        self._costs, self._table = costs, table
        self._rows: dict[str, tuple[float, ...]] = {}
        self._layers: dict[str, tuple[float, ...]] = {}

    def of(self, key: str, block: Block) -> tuple[float, ...]:
        if key not in self._rows:
            entry = self._table.entries[key]
            summed = np.sum([self._of_layer(layer) for layer in block.layers], axis=0)
            self._rows[key] = (*(entry[cost] for cost in self._costs), *summed, *live_set(block))
        return self._rows[key]

    def _of_layer(self, layer: Layer) -> tuple[float, ...]:
        key = layer_key(layer)
        if key not in self._layers:
            weight, activation = FORMATS.get(layer.weight_format), FORMATS.get(layer.activation_format)
            bitops = layer.macs * weight.storage_bits * activation.storage_bits
            self._layers[key] = (layer_bytes(layer), layer.macs, bitops)
        return self._layers[key]


def _slot_index(space: SearchSpace, offset: NDArray[np.int64]) -> SlotIndex:
    radix = np.zeros((space.n_genes, len(space.slots)), dtype=np.float32)
    for s, slot in enumerate(space.slots):
        radix[[space.position[name] for name in slot.genes], s] = radices(space, slot)
    # A slot without a condition compares any gene with 0, which always holds.
    conditions = [slot.active_if or (space.genes[0].name, 0) for slot in space.slots]
    owner = np.array([space.position[name] for name, _ in conditions])
    threshold = np.array([index for _, index in conditions], dtype=np.uint8)
    return SlotIndex(radix, offset.astype(np.float64), owner, threshold)


def _checked_size(space: SearchSpace, slot: Slot) -> int:
    size = combinations(space, slot)
    if size > _MOST_COMBINATIONS:
        raise UnsupportedError(
            f"slot {slot.name!r} of space {space.name!r} has {size} combinations of its genes, the most that are "
            f"tabulated are {_MOST_COMBINATIONS}: split it into slots with fewer genes"
        )
    return size


def _check_origin(space: SearchSpace, device: Device, table: Table) -> None:
    table.require(device.name, space.hash())
    if lacking := [cost for cost in device.costs if cost not in table.costs]:
        raise InvalidTableError(
            f"the table gives {list(table.costs)}, but not {lacking[0]!r}: profile the device anew"
        )


def _refuse_missing(missing: list[str], device: Device) -> None:
    if missing:
        raise InvalidTableError(
            f"the table of device {device.name!r} lacks {len(missing)} blocks of this space, the first: "
            f"{'; '.join(missing[:_MOST_OFFENDERS])}. Profile the device for this space to the end"
        )
