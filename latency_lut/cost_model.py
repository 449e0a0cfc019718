"""A device and a space, compiled to dense arrays: costing candidates is a gather and a sum per slot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.slot_table import SlotTable, SlotTables, slot_tables
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.latency_lut.unique_costs import UniqueCosts
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

CHUNK = 4096
"""Genomes that are costed at a time: what is gathered of so many stays in the caches."""

_TURNED = 256  # genomes that fit the first cache
_MOST_OFFENDERS = 5


@dataclass(frozen=True)
class CostModel:
    """Costs of candidates on one device: ``names``, the last of which is peak memory."""

    device: str
    names: tuple[str, ...]
    tables: SlotTables
    correction: dict[str, Correction]

    def cost(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Costs of canonical, valid genomes (n, n_genes), each of shape (n,).

        ``latency_ms`` and ``energy_mj`` are those of one call (where the device gives them), with what borders
        between blocks of different formats cost; ``bitops`` are MACs times weight bits times activation bits;
        ``peak_memory_bytes`` is explained in `peak_memory`.

        Raises:
            UnsupportedError: a genome has a block that was not compiled, as the device or the space has none.
        """
        result = np.empty((len(self.names), len(genomes)))
        for start in range(0, len(genomes), CHUNK):
            result[:, start : start + CHUNK] = self._cost_chunk(genomes[start : start + CHUNK]).T
        self._refuse_nan(result)
        for row, name in enumerate(self.names):
            correction = self.correction.get(name)
            if correction is not None:
                result[row] *= correction.scale
                result[row] += correction.offset
        return dict(zip(self.names, result, strict=True))

    def estimated(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether the cost of canonical, valid genomes rests on an interpolated entry, shape (n,)."""
        result = np.zeros(len(genomes), dtype=bool)
        for slot, rows in self.rows(genomes):
            result |= slot.estimated[rows]
        return result

    def rows(self, genomes: Genomes) -> Iterator[tuple[SlotTable, NDArray[np.intp]]]:
        """Each slot's table and the row of each genome in it, from the output to the input.

        What a block costs depends on what its successor demands, and that may be a block further on.
        """
        genes, radix = _transposed(genomes), self.tables.radix
        # Nine in ten entries of the radix are 0. A dense product would also start threads, and wait for them.
        numbers = radix @ genes.astype(radix.dtype)
        numbers += radix.dtype.type(self.tables.demands)
        demanded = np.zeros(len(genomes), dtype=radix.dtype)  # 0: nothing follows
        for slot, number in zip(reversed(self.tables.slots), reversed(numbers), strict=True):
            if slot.owner is not None:
                number *= genes[slot.owner] >= slot.threshold
            number += demanded
            rows = number.astype(np.intp)
            yield slot, rows
            demanded = slot.demand.take(rows)

    def _cost_chunk(self, genomes: Genomes) -> NDArray[np.float64]:
        total = np.zeros((len(genomes), len(self.names)))
        peak = np.zeros(len(genomes))
        for slot, rows in self.rows(genomes):
            gathered = slot.costs.take(rows, axis=0)
            total += gathered
            np.maximum(peak, gathered[:, -1], out=peak)
        total[:, -1] = peak
        return total

    def _refuse_nan(self, result: NDArray[np.float64]) -> None:
        # Every cost of a row is NaN, or none.
        bad = np.flatnonzero(np.isnan(result[0]))
        if len(bad):
            raise UnsupportedError(
                f"{len(bad)} genomes, the first at row {bad[0]}, are outside what was compiled for device "
                f"{self.device!r}: sample from device.restrict(space), or pass them through its repair()"
            )


def _transposed(genomes: Genomes) -> Genomes:
    """Genomes (n, n_genes) as contiguous rows of one gene each, shape (n_genes, n)."""
    genes = np.empty(genomes.shape[::-1], dtype=np.uint8)
    for start in range(0, len(genomes), _TURNED):
        genes[:, start : start + _TURNED] = genomes[start : start + _TURNED].T
    return genes


def compile_costs(space: SearchSpace, device: Device, table: Table) -> CostModel:
    """Look up every block that a (restricted) space can build on a device.

    Raises:
        InvalidTableError: the table is another device's or space's, or lacks blocks of this space; the message
            lists the first keys and their count.
        UnsupportedError: a slot has so many genes that it can not be tabulated.
    """
    _check_origin(space, device, table)
    unique = UniqueCosts(device.costs, table)
    tables = slot_tables(space, device, unique)
    _refuse_missing(unique.missing, device)
    correction = {cost: table.corrected(cost) for cost in device.costs if cost in table.correction}
    return CostModel(device.name, unique.names, tables, correction)


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
