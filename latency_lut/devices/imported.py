"""A device whose table came from elsewhere: published, or measured by somebody on something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.interpolate import Interpolator
from bitfront.latency_lut.op_key import layer_key, layers_in, op_key
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import INTERPOLATED, Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace


class ImportedDevice(Device):
    """What a table ``file`` knows, as `Table.save` wrote it; the device bears the table's name.

    It executes the formats in which the table has an operator. Blocks that the table lacks are left out of a
    space, or with ``interpolate`` estimated from similar ones (see `Interpolator`) and flagged.

    Raises:
        MissingFileError, CorruptFileError, InvalidTableError: the file can not be used.
        UnsupportedError: an option has another type.
    """

    is_measured = False

    def __init__(self, file: str, interpolate: bool = False) -> None:
        if not isinstance(file, str) or not isinstance(interpolate, bool):
            raise UnsupportedError(
                f"an imported device can not have file = {file!r} and interpolate = {interpolate!r}: "
                "give a path, and true or false"
            )
        self._file = Path(file)
        self._known = Table.read(self._file)
        self.name, self.costs = self._known.device, self._known.costs
        self.interpolate = interpolate

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """The (weight format, activation format) pairs of the table's rows."""
        return self._executable.get(op, frozenset())

    def covers(self, block: Block) -> bool:
        """Whether the table has the block or all its layers, or they can be estimated where that is asked for."""
        if self._known.cost_of(op_key(block), block) is not None:
            return True
        return self.interpolate and self._interpolator.estimate(block) is not None

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """The part of the table that ``space`` has a use for; nothing here is random.

        Raises:
            InvalidTableError: the table was made for another space.
        """
        self._known.require(self.name, space.hash(), str(self._file))
        entries: dict[str, dict[str, float]] = {}
        details: dict[str, Any] = {}
        for key, block in unique_blocks(space, self).items():
            known = self._known.cost_of(key, block)
            if known is not None:
                entries[key] = dict(known)
                details |= self._details(key, block)
            elif self.interpolate and (estimate := self._interpolator.estimate(block)) is not None:
                entries[key], sources = estimate
                details[key] = {INTERPOLATED: sources}
        table = Table(
            self.name,
            space.hash(),
            self.costs,
            entries,
            self.provenance(),
            self._known.correction,
            details,
            self._known.borders,
        )
        if path is not None:
            table.save(path)
        return table

    def provenance(self) -> dict[str, Any]:
        """The table's own, and how it is used here."""
        return {**self._known.provenance, "file": str(self._file), "interpolate": self.interpolate}

    def _details(self, key: str, block: Block) -> dict[str, Mapping[str, Any]]:
        """The details of a known entry; a sum of layers is an estimate where one of them is."""
        own = self._known.details.get(key, {})
        if INTERPOLATED not in own and self._known.is_estimated(key, block):
            layers = dict.fromkeys(map(layer_key, block.layers))
            own = {
                **own,
                INTERPOLATED: [one for one in layers if INTERPOLATED in self._known.details.get(one, {})],
            }
        return {key: own} if own else {}

    @cached_property
    def _executable(self) -> dict[str, frozenset[tuple[str, str]]]:
        pairs: dict[str, set[tuple[str, str]]] = {}
        for op, weight, activation in self._formats():
            pairs.setdefault(op, set()).add((weight, activation))
        return {op: frozenset(found) for op, found in pairs.items()}

    def _formats(self) -> Iterator[tuple[str, str, str]]:
        for key in self._known.entries:
            for layer in layers_in(key):
                yield layer.op, layer.weight_format, layer.activation_format

    @cached_property
    def _interpolator(self) -> Interpolator:
        return Interpolator(self._known)


def imported(file: str, interpolate: bool = False) -> ImportedDevice:
    """The device; options are those of `ImportedDevice`."""
    return ImportedDevice(file, interpolate)
