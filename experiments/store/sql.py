"""A store in a SQL database: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.column_cache import ColumnCache
from bitfront.experiments.store.engine import explained, make_engine, use_wal
from bitfront.experiments.store.migrate import upgrade
from bitfront.experiments.store.records import utc_now
from bitfront.experiments.store.retry import PATIENCE_SECONDS
from bitfront.experiments.store.sql_candidates import CandidatesSql
from bitfront.experiments.store.sql_experiments import ExperimentsSql
from bitfront.experiments.store.sql_operations import OperationsSql
from bitfront.experiments.store.sql_search import SearchSql
from bitfront.experiments.store.sql_shared import SharedSql
from bitfront.supernet.errors import StorageError


class SqlStore(ExperimentsSql, SearchSql, CandidatesSql, SharedSql, OperationsSql, Store):
    """A store behind a database URL such as ``sqlite:///.bitfront/bitfront.sqlite`` or ``postgresql://host/name``.

    Opening it makes the file and its tables, or migrates older ones. A PostgreSQL database must be there.

    Args:
        url: the database.
        clock: gives the times that are stored.
        patience: for how many seconds calls wait for a PostgreSQL that went away before they raise `LostError`.

    Raises:
        StoreVersionError: the database was made by a newer bitfront.
        CorruptFileError: the file is damaged, no database, or belongs to another program.
        StorageError: the database can not be opened or written.
    """

    def __init__(
        self, url: str | URL, clock: Callable[[], datetime] = utc_now, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._cache = ColumnCache()
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise StorageError("the store's URL is not valid: use sqlite:///FOLDER/bitfront.sqlite") from error
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise StorageError(f"no store can be in {parsed.get_backend_name()!r}: use sqlite or postgresql")
        if parsed.get_backend_name() == "sqlite":
            _make_folder(parsed.database)
        self._engine = make_engine(parsed)
        try:
            if parsed.get_backend_name() == "sqlite":
                with explained(parsed):
                    use_wal(self._engine)
            upgrade(self._engine)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `Store.close`."""
        self._engine.dispose()


def _make_folder(database: str | None) -> None:
    if not database or database == ":memory:":
        raise StorageError(
            "a store in memory would be gone with its process: use sqlite:///FOLDER/bitfront.sqlite"
        )
    if database.startswith("file:"):
        return
    try:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"can not make the folder {Path(database).parent}: {error.strerror or error}. "
            "Set BITFRONT_HOME to a folder that can be written"
        ) from error
