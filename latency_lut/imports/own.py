"""CSV and parquet of bitfront's own schema: read, checked, and written.

Columns (docs/devices.md explains them to people):

* ``kind``: ``block``, ``layer`` or ``border``, whose costs are summed as they are, or ``call``, a raw time of a
  whole call on the device, out of which `derive` makes costs;
* ``key``: the op key, layer key or border key; of a call the op keys of the blocks that it ran, joined by " + ";
* ``latency_ms`` and ``energy_mj``, in milliseconds and millijoules of one call; one of them may be absent;
* ``latency_q1_ms``, ``latency_median_ms``, ``latency_q3_ms``, ``latency_even_ms``, ``latency_odd_ms``, ``rounds``:
  how calls spread, see `Times`; optional.

Provenance is JSON: ``# name: value`` lines before a CSV's header, metadata of a parquet file's schema.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bitfront.latency_lut.bundle.profile import Times
from bitfront.latency_lut.imports.base import COSTS, ImportedTable, bad_costs, refuse, repeated
from bitfront.latency_lut.imports.keys import possible_keys
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.files import write_bytes, write_text
from bitfront.supernet.space import SearchSpace

KINDS = ("block", "layer", "border", "call")

_TIMES = {f"latency_{name}": name for name in ("q1_ms", "median_ms", "q3_ms", "even_ms", "odd_ms")}
_ROUNDS = "rounds"
_COLUMNS = ("kind", "key", *COSTS, *_TIMES, _ROUNDS)
_METADATA = b"bitfront"
_UNITS = {"latency": "ms", "energy": "mj"}
_FIX = "See the columns in docs/devices.md, mend them and import again"


def read_csv(path: Path, space: SearchSpace) -> ImportedTable:
    """A CSV file.

    Raises:
        MissingFileError: there is no such file.
        InvalidTableError: it is not fit to be imported; the first offenders are listed with their count.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: give the file that the device's profile wrote") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTableError(f"{path} can not be read as text ({error}): give a CSV file in UTF-8") from error
    provenance, body = _split_head(path, text)
    try:
        frame = pd.read_csv(io.StringIO(body), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InvalidTableError(f"{path} is no CSV file ({error}). {_FIX}") from error
    return _checked(path, frame, provenance, space)


def read_parquet(path: Path, space: SearchSpace) -> ImportedTable:
    """A parquet file; errors as `read_csv`."""
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise MissingFileError(f"{path} is missing: give the file that was exported")
    try:
        table = pyarrow.parquet.read_table(path)
        provenance = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InvalidTableError(f"{path} is no parquet file of a table ({error}). {_FIX}") from error
    return _checked(path, table.to_pandas(), provenance, space)


def write_csv(table: Table, path: Path) -> None:
    """Write a table's blocks, layers and borders, and the correction of whole networks as provenance.

    Raises:
        StorageError: the file can not be written.
    """
    out = io.StringIO()
    for name, value in _provenance(table).items():
        out.write(f"# {name}: {json.dumps(value)}\n")
    writer = csv.DictWriter(out, ("kind", "key", *table.costs), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(table))
    write_text(path, out.getvalue())


def write_parquet(table: Table, path: Path) -> None:
    """`write_csv`, as parquet."""
    import pyarrow
    import pyarrow.parquet

    frame = pyarrow.Table.from_pylist(list(_rows(table)))
    metadata = {_METADATA: json.dumps(_provenance(table)).encode()}
    out = io.BytesIO()
    pyarrow.parquet.write_table(frame.replace_schema_metadata(metadata), out)
    write_bytes(path, out.getvalue())


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    for key, row in table.entries.items():
        yield {"kind": "block" if ":" in key else "layer", "key": key, **row}
    for key, row in table.borders.items():
        yield {"kind": "border", "key": key, **row}


def _provenance(table: Table) -> dict[str, Any]:
    correction = {cost: [one.offset, one.scale] for cost, one in table.correction.items()}
    own = {"device": table.device, "space_hash": table.space_hash, "correction": correction}
    return {**dict(table.provenance), **own}


def _split_head(path: Path, text: str) -> tuple[dict[str, Any], str]:
    provenance: dict[str, Any] = {}
    lines = text.splitlines(keepends=True)
    bad = []
    while lines and lines[0].startswith("#"):
        line = lines.pop(0)
        name, colon, value = line[1:].partition(":")
        try:
            provenance[name.strip()] = json.loads(value) if colon else None
        except ValueError:
            bad.append(line.strip())
    refuse(path, bad, "A line before the header reads '# name: value', where the value is JSON")
    return provenance, "".join(lines)


def _checked(path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any], space: SearchSpace) -> ImportedTable:
    _check_columns(path, frame)
    if frame.empty:
        raise InvalidTableError(f"{path} has no rows. {_FIX}")
    costs = tuple(cost for cost in COSTS if cost in frame.columns)
    refuse(path, _wrong_kinds(frame), f"A kind is one of {', '.join(KINDS)}")
    refuse(path, repeated(list(frame["kind"] + " " + frame["key"])), "Each key may come once in its kind")
    numbers = frame[[name for name in _COLUMNS[2:] if name in frame.columns]].apply(pd.to_numeric, errors="coerce")
    needed = [*costs]
    rows = {
        f"{kind} {key}": dict(zip(needed, values, strict=True))
        for kind, key, values in zip(frame["kind"], frame["key"], numbers[needed].to_numpy(), strict=True)
    }
    refuse(path, bad_costs(rows), "A cost is a finite number of at least 0 in milliseconds or millijoules")
    _check_space(path, frame, provenance, space)
    tables: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in KINDS}
    for name, row in rows.items():
        kind, _, key = name.partition(" ")
        tables[kind][key] = {cost: float(value) for cost, value in row.items()}
    calls = _calls(frame[frame["kind"] == "call"], numbers)
    return ImportedTable(costs, tables["block"] | tables["layer"], tables["border"], calls, dict(provenance))


def _check_columns(path: Path, frame: pd.DataFrame) -> None:
    refuse(path, _unit_mismatches(frame), "Latency is in milliseconds and energy in millijoules")
    unknown = [f"column {name!r}" for name in frame.columns if name not in _COLUMNS]
    refuse(path, unknown, f"Known columns are {', '.join(_COLUMNS)}")
    missing = [f"no column {name!r}" for name in ("kind", "key") if name not in frame.columns]
    if not set(COSTS) & set(frame.columns):
        missing.append(f"neither of {' and '.join(COSTS)}")
    refuse(path, missing, _FIX)


def _unit_mismatches(frame: pd.DataFrame) -> list[str]:
    found = []
    for name in frame.columns:
        what, _, unit = str(name).rpartition("_")
        quantity = what.split("_")[0]
        if quantity in _UNITS and name not in _COLUMNS and unit != _UNITS[quantity]:
            found.append(f"column {name!r} is in {unit!r}, not in {_UNITS[quantity]!r}")
    return found


def _wrong_kinds(frame: pd.DataFrame) -> list[str]:
    wrong = frame[~frame["kind"].isin(KINDS)]
    return [f"row {i}: kind {kind!r}" for i, kind in zip(wrong.index, wrong["kind"], strict=True)]


def _check_space(path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any], space: SearchSpace) -> None:
    """Rows that the space can not build were made for another one, or are mistyped."""
    made_for = provenance.get("space_hash", space.hash())
    if made_for != space.hash():
        raise InvalidTableError(
            f"{path} was made for a space with hash {str(made_for)[:12]}, but {space.name!r} has "
            f"{space.hash()[:12]}: import it for its own space (nothing was imported)"
        )
    known = possible_keys(space)
    unknown = [
        f"{kind} {key}" for kind, key in zip(frame["kind"], frame["key"], strict=True) if not known.has(kind, key)
    ]
    refuse(
        path, unknown, f"The space {space.name!r} builds nothing with such keys: is the table for another space?"
    )


def _calls(frame: pd.DataFrame, numbers: pd.DataFrame) -> dict[str, Times]:
    """Raw times; where a file does not say how they spread, the typical time stands for all."""
    calls = {}
    for i, key in zip(frame.index, frame["key"], strict=True):
        row = numbers.loc[i]
        typical = float(row["latency_ms"])
        given = {name: float(row[column]) for column, name in _TIMES.items() if column in row and row[column] >= 0}
        rounds = row.get(_ROUNDS, np.nan)
        spread = dict.fromkeys(_TIMES.values(), typical) | given
        calls[key] = Times(latency_ms=typical, rounds=int(rounds) if rounds > 0 else 1, **spread)
    return calls
