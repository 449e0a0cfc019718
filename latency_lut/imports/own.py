"""CSV and parquet files of bitfront's own schema, whose columns `rows` lists.

Provenance is JSON: ``# name: value`` lines before a CSV's header, metadata of a parquet file's schema.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from bitfront.latency_lut.imports.base import ImportedTable, refuse
from bitfront.latency_lut.imports.rows import FIX, checked, table_columns, table_rows
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.files import write_bytes, write_text
from bitfront.supernet.space import SearchSpace

_METADATA = b"bitfront"


def read_csv(path: Path, space: SearchSpace) -> ImportedTable:
    """A CSV file in UTF-8 with commas.

    Raises:
        MissingFileError: there is no such file.
        InvalidTableError: it is not fit to be imported; the first offenders are listed with their count.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: give the file that the device's profile wrote") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTableError(f"{path} can not be read as text ({error}): give a CSV file in UTF-8") from error
    provenance, body = _split_head(path, text)
    return checked(path, _parsed_csv(path, body), provenance, space)


def read_parquet(path: Path, space: SearchSpace) -> ImportedTable:
    """A parquet file; errors as `read_csv`."""
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise MissingFileError(f"{path} is missing: give the file that was exported")
    try:
        table = pyarrow.parquet.read_table(path)
        provenance = _json((table.schema.metadata or {}).get(_METADATA, b"{}"))
        if not isinstance(provenance, dict):
            raise ValueError(f"its metadata {_METADATA.decode()!r} is no mapping")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InvalidTableError(f"{path} is no parquet file of a table ({error}). {FIX}") from error
    return checked(path, table.to_pandas(ignore_metadata=True), provenance, space)


def write_csv(table: Table, path: Path) -> None:
    """Write a table's blocks, layers and borders, and the correction of whole networks as provenance.

    Raises:
        StorageError: the file can not be written.
    """
    out = io.StringIO()
    for name, value in _provenance(table).items():
        out.write(f"# {name}: {json.dumps(value)}\n")
    writer = csv.DictWriter(out, table_columns(table), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_rows(table))
    write_text(path, out.getvalue())


def write_parquet(table: Table, path: Path) -> None:
    """`write_csv`, as parquet."""
    import pyarrow
    import pyarrow.parquet

    frame = pyarrow.Table.from_pylist(list(table_rows(table)))
    metadata = {_METADATA: json.dumps(_provenance(table)).encode()}
    out = io.BytesIO()
    pyarrow.parquet.write_table(frame.replace_schema_metadata(metadata), out)
    write_bytes(path, out.getvalue())


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
            provenance[name.strip()] = _json(value) if colon else None
        except ValueError:
            bad.append(line.strip())
    refuse(path, bad, "A line before the header reads '# name: value', where the value is JSON")
    return provenance, "".join(lines)


def _json(text: str | bytes) -> Any:
    """A JSON value; NaN and infinity are none, although Python reads them."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _parsed_csv(path: Path, body: str) -> pd.DataFrame:
    try:
        lines = [line for line in csv.reader(io.StringIO(body), strict=True) if line]
    except csv.Error as error:
        raise InvalidTableError(f"{path} is no CSV file ({error}). {FIX}") from error
    if not lines:
        raise InvalidTableError(f"{path} has no header and no rows. {FIX}")
    header, *rows = lines
    ragged = [f"row {i} has {len(row)} fields" for i, row in enumerate(rows) if len(row) != len(header)]
    refuse(path, ragged, f"Each row has {len(header)} fields, as the header has")
    return pd.DataFrame(rows, columns=header, dtype=object)
