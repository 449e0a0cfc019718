"""Tables of what each number format costs each layer, as people write them: one row per layer and format."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.predictors.table_files import PairTableError, RawTable, read_table
from bitfront.search.constraints import Floats
from bitfront.search.ilp import Allocation
from bitfront.supernet.errors import BitfrontError

_NAMES = ("layer", "format", "sensitivity")
_GROUP = "group"
_LIMIT = re.compile(r"\s*(\S+)\s*<=\s*(\S+)\s*")
_REMEDY = "Give each layer one row per format that it can have"


class InvalidLimitError(BitfrontError):
    """A limit can not be read."""


@dataclass(frozen=True)
class BitTable:
    """Sensitivities and costs, each (n_layers, n_formats), NaN where a layer has no row for a format.

    ``groups`` (n_layers,) has equal values for layers that share a format. ``unused`` are columns that hold no
    numbers.
    """

    layers: tuple[str, ...]
    formats: tuple[str, ...]
    groups: tuple[str, ...]
    sensitivity: Floats
    costs: dict[str, Floats]
    unused: tuple[str, ...]


def read_bit_table(path: Path) -> BitTable:
    """A CSV or parquet file with the columns ``layer``, ``format``, ``sensitivity``, perhaps ``group``, and costs.

    Every other column of numbers is a cost. Layers and formats are in the order in which they first come; a layer
    without a group is a group by itself.

    Raises:
        PairTableError: a column is missing, a cell is no finite number, or rows contradict each other; all such
            rows are named.
        MissingFileError, UnknownNameError, CorruptFileError: as `read_table`.
    """
    table = read_table(path)
    missing = [name for name in _NAMES if name not in table.columns]
    if missing:
        there = ", ".join(table.columns)
        raise PairTableError(table.source, [f"column {name!r} is missing: there are {there}" for name in missing])
    layers, formats = (tuple(str(cell).strip() for cell in table.columns[name]) for name in _NAMES[:2])
    groups = _groups(table, layers)
    costs = [name for name in table.columns if name not in (*_NAMES, _GROUP) and _has_numbers(table.columns[name])]
    problems = [*_unnamed(table, layers, formats), *_twice(table, layers, formats), *_torn(table, layers, groups)]
    columns = {name: _numbers(table, name, problems) for name in ("sensitivity", *costs)}
    if problems:
        raise PairTableError(table.source, problems, _REMEDY)
    return _pivoted(table, layers, formats, groups, columns)


def _pivoted(
    table: RawTable,
    layers: Sequence[str],
    formats: Sequence[str],
    groups: Sequence[str],
    columns: dict[str, list[float]],
) -> BitTable:
    rows = {name: i for i, name in enumerate(dict.fromkeys(layers))}
    places = {name: i for i, name in enumerate(dict.fromkeys(formats))}
    at = [rows[layer] for layer in layers], [places[name] for name in formats]
    tables = {}
    for name, values in columns.items():
        tables[name] = np.full((len(rows), len(places)), np.nan)
        tables[name][at] = values
    group_of = dict(zip(layers, groups, strict=True))
    sensitivity = tables.pop("sensitivity")
    unused = tuple(name for name in table.columns if name not in (*_NAMES, _GROUP, *columns))
    return BitTable(tuple(rows), tuple(places), tuple(group_of[n] for n in rows), sensitivity, tables, unused)


def parsed_limits(texts: Sequence[str]) -> dict[str, float]:
    """``"COST <= NUMBER"`` texts as limits.

    Raises:
        InvalidLimitError: a text has another form, its number is not finite, or a cost has two limits.
    """
    limits: dict[str, float] = {}
    for text in texts:
        form = _LIMIT.fullmatch(text)
        value = _number(form[2]) if form else None
        if form is None or value is None:
            raise InvalidLimitError(
                f"can not read the limit {text!r}: write 'COST <= NUMBER', as 'bytes <= 120000'"
            )
        if form[1] in limits:
            raise InvalidLimitError(f"{form[1]} has two limits: give one")
        limits[form[1]] = value
    return limits


def allocation_facts(table: BitTable, limits: dict[str, float], found: Allocation) -> dict[str, Any]:
    """An allocation as plain JSON values."""
    return {
        "formats": {layer: table.formats[f] for layer, f in zip(table.layers, found.formats, strict=True)},
        "sensitivity": found.sensitivity,
        "totals": found.totals,
        "limits": limits,
        "optimal": found.optimal,
        "gap": found.gap,
    }


def allocation_rows(table: BitTable, found: Allocation) -> list[dict[str, Any]]:
    """The rows of the table that were chosen, one a layer."""
    rows = []
    for i, (layer, f) in enumerate(zip(table.layers, found.formats, strict=True)):
        values = {"sensitivity": table.sensitivity[i, f], **{k: v[i, f] for k, v in table.costs.items()}}
        numbers = {name: float(value) for name, value in values.items()}
        rows.append({"layer": layer, "group": table.groups[i], "format": table.formats[f], **numbers})
    return rows


def _groups(table: RawTable, layers: Sequence[str]) -> list[str]:
    """Each row's group: what stands there, or its layer's own, which no text in a file can be."""
    given = [
        str(cell if cell is not None else "").strip() for cell in table.columns.get(_GROUP, [""] * len(table))
    ]
    return [group or f"\0{layer}" for group, layer in zip(given, layers, strict=True)]


def _unnamed(table: RawTable, layers: Sequence[str], formats: Sequence[str]) -> Iterator[str]:
    for name, cells in (("layer", layers), ("format", formats)):
        yield from (f"{table.where(i)}: its {name} is empty" for i, cell in enumerate(cells) if not cell)


def _twice(table: RawTable, layers: Sequence[str], formats: Sequence[str]) -> Iterator[str]:
    first: dict[tuple[str, str], int] = {}
    for i, pair in enumerate(zip(layers, formats, strict=True)):
        if first.setdefault(pair, i) != i:
            yield f"{table.where(i)}: layer {pair[0]!r} has {pair[1]} in {table.where(first[pair])} already"


def _torn(table: RawTable, layers: Sequence[str], groups: Sequence[str]) -> Iterator[str]:
    first: dict[str, int] = {}
    for i, layer in enumerate(layers):
        before = first.setdefault(layer, i)
        if groups[i] != groups[before]:
            yield f"{table.where(i)}: layer {layer!r} is in another group in {table.where(before)}"


def _numbers(table: RawTable, name: str, problems: list[str]) -> list[float]:
    values = [_number(cell) for cell in table.columns[name]]
    for i, value in enumerate(values):
        if value is None:
            problems.append(
                f"{table.where(i)}: its {name} is {table.columns[name][i]!r}, which is no finite number"
            )
    return [math.nan if value is None else value for value in values]


def _has_numbers(cells: Sequence[object]) -> bool:
    return any(_number(cell) is not None for cell in cells)


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
