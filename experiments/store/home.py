"""Where bitfront keeps its things."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.retry import PATIENCE_SECONDS
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.swapping import opening
from bitfront.supernet.errors import StorageError

DATABASE = "BITFRONT_STORE"
"""The environment variable with the URL of a PostgreSQL database, where there is one."""
_DEFAULT = ".bitfront"
_FILE = "bitfront.sqlite"


def home() -> Path:
    """The absolute path of BITFRONT_HOME, or of ``.bitfront`` in the working folder where it is not set."""
    return Path(os.environ.get("BITFRONT_HOME") or _DEFAULT).expanduser().absolute()


def store_file(folder: Path | None = None) -> Path:
    """The file of a home's store (default: `home`), where no other database is named."""
    return (folder or home()) / _FILE


def store_url(folder: Path | None = None) -> URL:
    """Where the store of a home (default: `home`) is: what BITFRONT_STORE says of `home`, else a file inside.

    Raises:
        StorageError: BITFRONT_STORE is no URL.
    """
    folder, given = folder or home(), os.environ.get(DATABASE)
    if not given or folder != home():
        return URL.create("sqlite", database=str(store_file(folder)))
    try:
        return make_url(given)
    except ArgumentError as error:  # which is not repeated, as there may be a password in it
        raise StorageError(f"{DATABASE} is no URL: use one such as postgresql://USER@HOST/NAME") from error


def open_store(folder: Path | None = None, patience: float = PATIENCE_SECONDS) -> Store:
    """The store of a home (default: `home`), made where there is none.

    BITFRONT_STORE names another database by its URL, such as ``postgresql://user@host/bitfront``: files stay in
    the home, everything else is there. ``patience`` is as for `SqlStore`.

    Raises:
        StoreVersionError, CorruptFileError, StorageError: see `SqlStore`.
        StorageError: the home is being restored from a backup.
    """
    with opening(folder or home()):
        return SqlStore(store_url(folder), patience=patience)
