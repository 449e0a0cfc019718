"""Rows of bitfront's own schema, which CSV and parquet files hold: checked, and written.

Columns (docs/devices.md explains them to people):

* ``kind``: ``block``, ``layer`` or ``border``, whose costs are summed as they are, or ``call``, a raw time of a
  whole call on the device, out of which `derive` makes costs;
* ``key``: the op key, layer key or border key; of a call the op keys of the blocks that it ran, joined by " + ";
* ``latency_ms`` and ``energy_mj``, in milliseconds and millijoules of one call; one of them may be absent;
* ``latency_q1_ms``, ``latency_median_ms``, ``latency_q3_ms``, ``latency_even_ms``, ``latency_odd_ms``, ``rounds``:
  how calls spread, see `Times`; optional, and each may be empty;
* ``interpolated_from``: for an estimated cost, the keys that it was estimated from, joined by " + "; optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bitfront.latency_lut.bundle.profile import Times
from bitfront.latency_lut.imports.base import COSTS, ImportedTable, refuse, repeated
from bitfront.latency_lut.imports.keys import PossibleKeys, possible_keys
from bitfront.latency_lut.profile_plan import JOINED_BY
from bitfront.latency_lut.table import INTERPOLATED, InvalidTableError, Table
from bitfront.supernet.space import SearchSpace

KINDS = ("block", "layer", "border", "call")
FIX = "See the columns in docs/devices.md, mend them and import again"

_TIMES = {f"latency_{name}": name for name in ("q1_ms", "median_ms", "q3_ms", "even_ms", "odd_ms")}
_ROUNDS = "rounds"
_ESTIMATED = "interpolated_from"
_NUMBERS = (*COSTS, *_TIMES, _ROUNDS)
_COLUMNS = ("kind", "key", *_NUMBERS, _ESTIMATED)
_UNITS = {"latency": ("ms", "milliseconds"), "energy": ("mj", "millijoules")}


def table_columns(table: Table) -> tuple[str, ...]:
    """The columns that `table_rows` fills."""
    flagged = any(INTERPOLATED in details for details in table.details.values())
    return ("kind", "key", *table.costs, *([_ESTIMATED] if flagged else []))


def table_rows(table: Table) -> Iterator[dict[str, Any]]:
    """A table's blocks, layers and borders, with the columns of `table_columns`."""
    flagged = _ESTIMATED in table_columns(table)
    for key, row in table.entries.items():
        sources = table.details.get(key, {}).get(INTERPOLATED, ())
        yield {
            "kind": "block" if ":" in key else "layer",
            "key": key,
            **row,
            **({_ESTIMATED: JOINED_BY.join(sources)} if flagged else {}),
        }
    for key, row in table.borders.items():
        yield {"kind": "border", "key": key, **row, **({_ESTIMATED: ""} if flagged else {})}


def checked(path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any], space: SearchSpace) -> ImportedTable:
    """What the rows of a file say, if all of them are fit to be imported for ``space``.

    Raises:
        InvalidTableError: they are not; the first offenders are listed with their count.
    """
    _check_columns(path, frame, provenance)
    _check_keys(path, frame)
    given = frame[[name for name in _NUMBERS if name in frame.columns]]
    numbers = given.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    rule = "A cost is a finite number of at least 0 in milliseconds or millijoules"
    refuse(path, _bad_numbers(frame, numbers), rule)
    known = _check_space(path, frame, provenance, space)
    costs = tuple(cost for cost in COSTS if cost in numbers)
    tables: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in KINDS}
    for kind, key, row in zip(frame["kind"], frame["key"], numbers[list(costs)].to_numpy().tolist(), strict=True):
        tables[kind][key] = dict(zip(costs, row, strict=True))
    entries = tables["block"] | tables["layer"]
    _check_covered(path, known, entries, tables["call"], space)
    calls = _calls(frame, numbers)
    return ImportedTable(costs, entries, tables["border"], calls, dict(provenance), _estimates(frame))


def _check_columns(path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any]) -> None:
    rule = "Latency is in milliseconds and energy in millijoules: convert them"
    refuse(path, [*_unit_mismatches(frame), *_stated_units(provenance)], rule)
    wrong = [f"column {name!r}" for name in frame.columns if name not in _COLUMNS]
    wrong += repeated([f"column {name!r}" for name in frame.columns])
    refuse(path, wrong, f"Known columns are {', '.join(_COLUMNS)}, each once")
    missing = [f"no column {name!r}" for name in ("kind", "key") if name not in frame.columns]
    if not set(COSTS) & set(frame.columns):
        missing.append(f"neither of {' and '.join(COSTS)}")
    refuse(path, missing, FIX)
    if frame.empty:
        raise InvalidTableError(f"{path} has no rows. {FIX}")


def _unit_mismatches(frame: pd.DataFrame) -> Iterator[str]:
    for name in map(str, frame.columns):
        what, _, unit = name.rpartition("_")
        quantity = what.split("_")[0]
        if quantity in _UNITS and name not in _COLUMNS and unit != _UNITS[quantity][0]:
            yield f"column {name!r} is in {unit!r}, not in {_UNITS[quantity][0]!r}"


def _stated_units(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Units that a file names beside its columns, as ``units: {"latency": "us"}`` or ``latency_unit: "us"``."""
    for name, value in provenance.items():
        if name.casefold().rpartition("_")[2] in ("unit", "units"):
            stated = value.items() if isinstance(value, dict) else [(name, value)]
            for what, unit in stated:
                quantities = [_UNITS[one] for one in _UNITS if one in str(what).casefold()] or _UNITS.values()
                if not any(str(unit).casefold() in units for units in quantities):
                    yield f"it says that {what} is {unit!r}"


def _check_keys(path: Path, frame: pd.DataFrame) -> None:
    kinds, keys = frame["kind"].tolist(), frame["key"].tolist()
    wrong = [f"row {i}: kind {kind!r}" for i, kind in enumerate(kinds) if kind not in KINDS]
    refuse(path, wrong, f"A kind is one of {', '.join(KINDS)}")
    wrong = [f"row {i}: key {key!r}" for i, key in enumerate(keys) if not isinstance(key, str)]
    refuse(path, wrong, "A key is text")
    if "call" in kinds and "latency_ms" not in frame.columns:
        raise InvalidTableError(f"{path} has calls, but no column 'latency_ms'. {FIX}")
    twice = repeated([f"{kind} {key}" for kind, key in zip(kinds, keys, strict=True)])
    refuse(path, twice, "Each key may come once in its kind")


def _bad_numbers(frame: pd.DataFrame, numbers: pd.DataFrame) -> Iterator[str]:
    """Costs that are no cost; what says how calls spread may be left empty, but not be wrong."""
    for column in numbers:
        raw, values = frame[column], numbers[column].to_numpy()
        bad = ~(np.isfinite(values) & (values >= 0))
        if column not in COSTS:
            bad &= ~(raw.isna() | (raw == "")).to_numpy(dtype=bool)
        for i in np.flatnonzero(bad).tolist():
            text = raw.iloc[i]
            shown = f"{values[i]} ({text!r})" if np.isnan(values[i]) and isinstance(text, str) else values[i]
            yield f"{frame['kind'].iloc[i]} {frame['key'].iloc[i]}: {column} is {shown}"


def _check_space(
    path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any], space: SearchSpace
) -> PossibleKeys:
    """Rows that the space can not build were made for another one, or are mistyped."""
    made_for = provenance.get("space_hash", space.hash())
    if made_for != space.hash():
        raise InvalidTableError(
            f"{path} was made for a space with hash {str(made_for)[:12]}, but {space.name!r} has "
            f"{space.hash()[:12]}: import it for its own space (nothing was imported)"
        )
    known = possible_keys(space)
    rows = zip(frame["kind"], frame["key"], strict=True)
    unknown = [f"{kind} {key}" for kind, key in rows if not known.has(kind, key)]
    refuse(
        path, unknown, f"The space {space.name!r} builds nothing with such keys: is the table for another space?"
    )
    return known


def _check_covered(
    path: Path, known: PossibleKeys, entries: Mapping[str, Any], calls: Mapping[str, Any], space: SearchSpace
) -> None:
    """Gaps are left out of a search, but where a slot has nothing no network is left."""
    refuse(
        path,
        [f"slot {name!r} has no costs" for name in known.bare_slots(entries.keys() | calls.keys())],
        f"Each slot of the space {space.name!r} needs a row for one of its blocks, or for all layers of one",
    )


def _calls(frame: pd.DataFrame, numbers: pd.DataFrame) -> dict[str, Times]:
    """Raw times; where a file does not say how they spread, the typical time stands for all."""
    is_call = (frame["kind"] == "call").to_numpy(dtype=bool)
    calls = {}
    for key, row in zip(frame["key"][is_call], numbers[is_call].to_dict("records"), strict=True):
        typical, rounds = row["latency_ms"], row.get(_ROUNDS, np.nan)
        spread = {name: row.get(column, np.nan) for column, name in _TIMES.items()}
        spread = {name: typical if np.isnan(value) else value for name, value in spread.items()}
        calls[key] = Times(latency_ms=typical, rounds=int(rounds) if rounds >= 1 else 1, **spread)
    return calls


def _estimates(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    if _ESTIMATED not in frame.columns:
        return {}
    rows = zip(frame["key"], frame[_ESTIMATED], strict=True)
    return {key: {INTERPOLATED: sources.split(JOINED_BY)} for key, sources in rows if sources}
