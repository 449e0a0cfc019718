"""The lookup table of one device in one space: op key to costs, and where the numbers come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitfront.latency_lut.op_key import layer_key
from bitfront.supernet.errors import BitfrontError, CorruptFileError
from bitfront.supernet.files import read_json, write_json
from bitfront.supernet.layers import Block

INTERPOLATED = "interpolated"
"""The detail of an entry that was estimated: the keys of the entries behind it."""

_KIND = "bitfront-table"
_VERSION = 1
_MOST_OFFENDERS = 5


class InvalidTableError(BitfrontError):
    """A table holds impossible costs, lacks entries, or belongs to another device or space."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Affine correction of a whole network's summed cost: ``offset + scale * sum``, in the cost's unit."""

    offset: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Table:
    """Costs of blocks on one device. A table that exists is valid, though it may be incomplete.

    ``entries``: op key of a block or layer key to {cost name: value}, each with exactly the names in ``costs``,
    finite and >= 0. ``space_hash``: `SearchSpace.hash` of the space it was made for. ``provenance``: JSON-able,
    for people.
    ``correction``: per cost, no correction where a cost is not named. ``details``: op key (or call key) to
    JSON-able facts: how an entry was measured (quartiles, repeats) or, under `INTERPOLATED`, estimated.
    ``borders``: border key to costs as in ``entries``; a border without a row costs nothing.

    Raises:
        InvalidTableError: costs are missing, unknown, NaN, infinite or negative; all entries are refused.
    """

    device: str
    space_hash: str
    costs: tuple[str, ...]
    entries: Mapping[str, Mapping[str, float]]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    correction: Mapping[str, Correction] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    borders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse(list(_offenders(self)), f"the table of device {self.device!r}")

    def corrected(self, cost: str) -> Correction:
        """The correction of a cost; the identity where none is stored."""
        return self.correction.get(cost, Correction())

    def cost_of(self, key: str, block: Block) -> Mapping[str, float] | None:
        """Costs of a block by its op key: its own entry or, where there is none, the sum of its layers' entries.

        None where the table does not know them all.
        """
        if (own := self.entries.get(key)) is not None:
            return own
        rows = [self.entries.get(layer_key(layer)) for layer in block.layers]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            return None
        return {cost: sum(row[cost] for row in known) for cost in self.costs}

    def is_estimated(self, key: str, block: Block) -> bool:
        """Whether `cost_of` rests on an entry that was interpolated."""
        keys = [key] if key in self.entries else map(layer_key, block.layers)
        return any(INTERPOLATED in self.details.get(one, {}) for one in keys)

    def save(self, path: Path) -> None:
        """Write the table as JSON.

        Raises:
            StorageError: the file can not be written; an older one is left as it was.
        """
        correction = {cost: [c.offset, c.scale] for cost, c in self.correction.items()}
        write_json(
            path,
            {
                "kind": _KIND,
                "version": _VERSION,
                "device": self.device,
                "space_hash": self.space_hash,
                "costs": list(self.costs),
                "provenance": dict(self.provenance),
                "correction": correction,
                "entries": {key: dict(row) for key, row in self.entries.items()},
                "borders": {key: dict(row) for key, row in self.borders.items()},
                "details": {key: dict(row) for key, row in self.details.items()},
            },
        )

    @staticmethod
    def read(path: Path) -> Table:
        """Read back what `save` wrote.

        Raises:
            MissingFileError: there is no such file.
            CorruptFileError: it is no JSON, or not a table of this version.
            InvalidTableError: it holds impossible costs.
        """
        return _parsed(path, read_json(path))

    @staticmethod
    def load(path: Path, device: str, space_hash: str) -> Table:
        """`read`, for this device (by name) and space (by `SearchSpace.hash`).

        Raises:
            MissingFileError, CorruptFileError, InvalidTableError: as `read`.
            InvalidTableError: it belongs to another device or space.
        """
        table = Table.read(path)
        table.require(device, space_hash, str(path))
        return table

    def require(self, device: str, space_hash: str, called: str = "this table") -> None:
        """Make sure that the table belongs to a device (by name) and a space (by `SearchSpace.hash`).

        Raises:
            InvalidTableError: it does not; the message names both sides.
        """
        if self.device != device:
            raise InvalidTableError(
                f"{called} is of device {self.device!r}, not of {device!r}: profile {device!r} for this space"
            )
        if self.space_hash != space_hash:
            raise InvalidTableError(
                f"{called} was made for the space with hash {self.space_hash[:12]}, but this space has "
                f"{space_hash[:12]}: profile {device!r} anew for this space"
            )


def _parsed(path: Path, value: Any) -> Table:
    try:
        if value["kind"] != _KIND or value["version"] != _VERSION:
            raise ValueError(f"kind {value['kind']!r} version {value['version']!r}")
        return Table(
            device=str(value["device"]),
            space_hash=str(value["space_hash"]),
            costs=tuple(map(str, value["costs"])),
            entries={key: dict(row) for key, row in value["entries"].items()},
            provenance=dict(value["provenance"]),
            correction={key: Correction(float(a), float(b)) for key, (a, b) in value["correction"].items()},
            details={key: dict(row) for key, row in value["details"].items()},
            borders={key: dict(row) for key, row in value.get("borders", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(
            f"{path} is not a bitfront table of version {_VERSION} ({error!r}): delete it to have it made again"
        ) from error
    except InvalidTableError as error:
        raise InvalidTableError(f"{path}: {error}") from error


def _offenders(table: Table) -> Iterator[str]:
    if not table.costs:
        yield "it names no costs"
    for cost, correction in table.correction.items():
        if cost not in table.costs or not math.isfinite(correction.offset) or not 0 < correction.scale < math.inf:
            yield f"correction of {cost}: offset {correction.offset}, scale {correction.scale}"
    for key, row in (*table.entries.items(), *table.borders.items()):
        for cost in table.costs:
            if cost not in row:
                yield f"{key}: no {cost}"
            elif not _is_cost(row[cost]):
                yield f"{key}: {cost} is {row[cost]!r}"
        if unknown := sorted(row.keys() - set(table.costs)):
            yield f"{key}: unknown cost {unknown[0]!r}"


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _refuse(offenders: list[str], what: str) -> None:
    if offenders:
        listed = "; ".join(offenders[:_MOST_OFFENDERS])
        raise InvalidTableError(
            f"{what} has {len(offenders)} bad entries, the first: {listed}. A cost is a finite number >= 0 for "
            "every name the table gives; mend or profile them again (nothing was taken from it)"
        )
