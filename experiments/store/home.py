"""Where bitfront keeps its things."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.retry import PATIENCE_SECONDS
from bitfront.experiments.store.sql import SqlStore

_DEFAULT = ".bitfront"
_FILE = "bitfront.sqlite"


def home() -> Path:
    """The absolute path of BITFRONT_HOME, or of ``.bitfront`` in the working folder where it is not set."""
    return Path(os.environ.get("BITFRONT_HOME") or _DEFAULT).expanduser().absolute()


def store_file(folder: Path | None = None) -> Path:
    """The file of a home's store (default: `home`), where no other database is named."""
    return (folder or home()) / _FILE


def open_store(folder: Path | None = None, patience: float = PATIENCE_SECONDS) -> Store:
    """The store of a home (default: `home`), made where there is none.

    BITFRONT_STORE names another database by its URL, such as ``postgresql://user@host/bitfront``: files stay in
    the home, everything else is there. ``patience`` is as for `SqlStore`.

    Raises:
        StoreVersionError, CorruptFileError, StorageError: see `SqlStore`.
    """
    url = os.environ.get("BITFRONT_STORE")
    return SqlStore(url or URL.create("sqlite", database=str(store_file(folder))), patience=patience)
