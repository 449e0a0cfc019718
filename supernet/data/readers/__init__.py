"""What images are read from, one format a file. A new format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bitfront.supernet.data.readers.base import Reader
from bitfront.supernet.registry import Registry

READERS: Registry[Callable[[Path], Reader]] = Registry(
    "reader",
    {
        "folder": "bitfront.supernet.data.readers.folder:FolderReader",
        "tar": "bitfront.supernet.data.readers.tar:TarReader",
        "npz": "bitfront.supernet.data.readers.npz:NpzReader",
        "idx": "bitfront.supernet.data.readers.idx:IdxReader",
        "parquet": "bitfront.supernet.data.readers.parquet:ParquetReader",
    },
)
