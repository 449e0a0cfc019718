"""APQ's tables (Wang et al., CVPR 2020): latency and energy of single convolutions by shape and bits.

JSON. A key ``(c_in, c_out, size, kernel, stride, padding, groups)-W4A6`` names a convolution whose input map has
``size`` pixels a side, with 4-bit weights and 6-bit activations; ``head`` is what comes before the blocks that APQ
searches, and ``tail`` what comes after, both at 8 bits. A value is ``{"latency": ms, "energy": mJ}`` of one call.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitfront.latency_lut.imports.base import Costs, ImportedTable, refuse, repeated
from bitfront.latency_lut.imports.fields import bad_fields
from bitfront.latency_lut.op_key import layer_key, op_key
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.files import read_bytes
from bitfront.supernet.layers import Block, BlockKind, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer_layer
from bitfront.supernet.space import SearchSpace

_FIELDS = {"latency": "latency_ms", "energy": "energy_mj"}
_ENDS: dict[BlockKind, str] = {"stem": "head", "head": "tail"}
_END_FORMAT = "int8"
_KEY = re.compile(r"\((0|[1-9][0-9]*)(, (0|[1-9][0-9]*)){6}\)-W[1-9][0-9]*A[1-9][0-9]*")
_RULE = (
    "Each key may come once and reads '(c_in, c_out, size, kernel, stride, padding, groups)-W8A8', 'head' or "
    "'tail', and these two are needed; a value is {'latency': milliseconds, 'energy': millijoules}, both finite "
    "numbers of at least 0. Mend the file and import it again"
)


@dataclass
class _Found:
    """What a table says of a space: costs by our keys, the rows they come from, and the slots with any block."""

    entries: dict[str, Costs] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    covered: dict[str, bool] = field(default_factory=dict)


def read(path: Path, space: SearchSpace) -> ImportedTable:
    """The rows of an APQ table that ``space`` has a use for, by layer key, its ends by op key.

    A layer without a row stays without an entry, so that no network has it on the imported device. The ends stand
    for the space's stem and head in int8; in other formats these have no entry.

    Raises:
        MissingFileError: there is no such file.
        InvalidTableError: it is no such table, has bad rows or no row for some slot, or its ends could be any of
            several blocks of the space; nothing is imported.
    """
    data = read_bytes(path)
    rows = _rows(path, data)
    found = _Found()
    ends: dict[BlockKind, dict[str, None]] = {kind: {} for kind in _ENDS}
    for block in every_block(space):
        if block.kind not in ends:
            _look_up(block, rows, found)
        else:
            found.covered[block.name] = found.covered.get(block.name, False) or _is_end(block)
            ends[block.kind] |= {op_key(block): None} if _is_end(block) else {}
    _check_covered(path, found)
    for kind, key in _ENDS.items():
        found.entries[_only(path, space, key, list(ends[kind]))] = _costs(rows[key])
        found.used.add(key)
    return ImportedTable(
        costs=tuple(_FIELDS.values()),
        entries=found.entries,
        provenance={"format": "apq", "sha256": {path.name: hashlib.sha256(data).hexdigest()}},
        ignored=len(rows) - len(found.used),
    )


def _rows(path: Path, data: bytes) -> dict[str, Any]:
    twice: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(repeated([key for key, _ in pairs]))
        return dict(pairs)

    try:
        rows = json.loads(data, object_pairs_hook=mapping)
    except (ValueError, RecursionError) as error:
        raise InvalidTableError(
            f"{path} is not valid JSON ({error}): give a table as APQ publishes them"
        ) from error
    if not isinstance(rows, dict):
        raise InvalidTableError(f"{path} holds a {type(rows).__name__}, not a mapping of rows. {_RULE}")
    missing = [f"no {key!r}" for key in _ENDS.values() if key not in rows]
    names = [f"key {key!r}" for key in rows if key not in _ENDS.values() and not _KEY.fullmatch(key)]
    refuse(path, [*twice, *missing, *names, *bad_fields(rows, list(_FIELDS))], _RULE)
    return rows


def _look_up(block: Block, rows: Mapping[str, Any], found: _Found) -> None:
    known = [(layer, key) for layer in block.layers if (key := _row_key(layer)) in rows]
    found.covered[block.name] = found.covered.get(block.name, False) or len(known) == len(block.layers)
    for layer, key in known:
        found.used.add(key)
        found.entries[layer_key(layer)] = _costs(rows[key])


def _row_key(layer: Layer) -> str:
    """The key of a layer in APQ's form; one that no table has, unless both operands are integers."""
    if not is_integer_layer(layer):
        return ""
    shape = (layer.in_channels, layer.out_channels, layer.in_size, layer.kernel, layer.stride)
    weight, activation = (FORMATS.get(one).storage_bits for one in (layer.weight_format, layer.activation_format))
    return f"{(*shape, layer.kernel // 2, layer.groups)}-W{weight}A{activation}"


def _costs(row: Mapping[str, float]) -> Costs:
    return {cost: float(row[name]) for name, cost in _FIELDS.items()}


def _is_end(block: Block) -> bool:
    return all(layer.weight_format == layer.activation_format == _END_FORMAT for layer in block.layers)


def _check_covered(path: Path, found: _Found) -> None:
    bare = (f"slot {name!r}" for name, covered in found.covered.items() if not covered)
    rule = (
        "Each slot of the space needs a block that is in the table, stem and head one in int8: is it a table for "
        "another space?"
    )
    refuse(path, bare, rule)


def _only(path: Path, space: SearchSpace, key: str, blocks: list[str]) -> str:
    if len(blocks) > 1:
        raise InvalidTableError(
            f"{path} has one {key!r}, but it could stand for {len(blocks)} blocks of the space {space.name!r}: "
            f"{', '.join(blocks[:2])}: restrict the space to the resolution that the table was made for "
            "(nothing was imported)"
        )
    return blocks[0]
