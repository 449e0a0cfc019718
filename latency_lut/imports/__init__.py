"""Tables that somebody else made, one file format a file. A new format is one file and one line here.

An importer is called with a path and the space that the table is for, and returns an `ImportedTable`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bitfront.latency_lut.imports.base import ImportedTable
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.registry import Registry
from bitfront.supernet.space import SearchSpace

IMPORTERS: Registry[Callable[[Path, SearchSpace], ImportedTable]] = Registry(
    "table format",
    {
        "apq": "bitfront.latency_lut.imports.apq:read",
        "csv": "bitfront.latency_lut.imports.own:read_csv",
        "ofa": "bitfront.latency_lut.imports.ofa:read",
        "parquet": "bitfront.latency_lut.imports.own:read_parquet",
    },
)

_BY_SUFFIX = {".csv": "csv", ".parquet": "parquet", ".json": "apq", ".dict": "apq", ".yaml": "ofa", ".yml": "ofa"}


def detect(path: Path) -> str:
    """The format of a file by its name; a folder is taken for one of Once-for-All's.

    Raises:
        UnknownNameError: the name does not tell.
    """
    if path.is_dir():
        return "ofa"
    if path.suffix.lower() not in _BY_SUFFIX:
        raise UnknownNameError("ending of a table's file", path.suffix or path.name, _BY_SUFFIX)
    return _BY_SUFFIX[path.suffix.lower()]
