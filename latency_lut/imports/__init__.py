"""Tables that somebody else made, one file format a file. A new format is one file and one line here.

An importer is called with a path and the space that the table is for, and returns an `ImportedTable`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bitfront.latency_lut.imports.base import ImportedTable
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
