"""Where bitfront keeps its things."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.sql import SqlStore

_DEFAULT = ".bitfront"
_FILE = "bitfront.sqlite"


def home() -> Path:
    """The absolute path of BITFRONT_HOME, or of ``.bitfront`` in the working folder where it is not set."""
    return Path(os.environ.get("BITFRONT_HOME") or _DEFAULT).expanduser().absolute()


def store_url(folder: Path | None = None) -> URL:
    """Where the store of a home (default: `home`) is."""
    return URL.create("sqlite", database=str((folder or home()) / _FILE))


def open_store(folder: Path | None = None) -> Store:
    """The store of a home (default: `home`), made where there is none.

    Raises:
        StoreVersionError, CorruptFileError, StorageError: see `SqlStore`.
    """
    return SqlStore(store_url(folder))
