"""From what an importer read to the table of a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitfront.latency_lut.derive import LATENCY, derive
from bitfront.latency_lut.imports.base import ImportedTable
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.profile_plan import Chain, distinct, keys_of_call
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace

_CORRECTION = "correction"


def imported_table(imported: ImportedTable, space: SearchSpace, name: str) -> Table:
    """The table of device ``name``. Raw times of calls are turned into costs as those of this machine are.

    Raises:
        InvalidTableError: there are calls and costs in one file, or calls out of which no costs can be derived, or
            the correction in its provenance is none.
    """
    if not imported.calls:
        return _table(imported, space, name)
    if imported.entries or imported.borders:
        raise InvalidTableError(
            f"the table has {len(imported.calls)} raw calls and {len(imported.entries)} costs: import the calls "
            "of a bundle, or costs, but not both in one file"
        )
    found = derive(imported.calls, _chains(imported, space))
    return Table(
        device=name,
        space_hash=space.hash(),
        costs=(LATENCY,),
        entries={key: {LATENCY: cost} for key, cost in found.entries.items()},
        borders={key: {LATENCY: cost} for key, cost in found.borders.items()},
        provenance={**imported.provenance, **found.facts},
        correction={LATENCY: found.correction},
        details={key: one._asdict() for key, one in imported.calls.items()},
    )


def _table(imported: ImportedTable, space: SearchSpace, name: str) -> Table:
    provenance = dict(imported.provenance)
    corrections = provenance.pop(_CORRECTION, {})
    return Table(
        device=name,
        space_hash=space.hash(),
        costs=imported.costs,
        entries=imported.entries,
        borders=imported.borders,
        provenance=provenance,
        correction=_corrections(corrections),
        details=imported.details,
    )


def _corrections(value: Any) -> dict[str, Correction]:
    try:
        return {str(cost): Correction(float(offset), float(scale)) for cost, (offset, scale) in value.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidTableError(
            f"the correction {value!r} is none ({error}): give {{cost: [offset, scale]}}, or leave it out"
        ) from error


def _chains(imported: ImportedTable, space: SearchSpace) -> dict[str, Chain]:
    blocks: Mapping[str, Block] = {op_key(block): block for block in every_block(space)}
    return {call: distinct([blocks[key] for key in keys_of_call(call)]) for call in imported.calls}
