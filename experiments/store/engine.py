"""A connection to the database: one writer at a time, and errors in words."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, FromClause, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from bitfront.experiments.store.errors import ConflictError, LostError
from bitfront.supernet.errors import BitfrontError, CorruptFileError, StorageError

BUSY_SECONDS = 30.0
_MOST_CONNECTIONS = 60  # beside the five that stay open
_WRITES = "bitfront_writes"
# A server that vanished without a word is noticed within half a minute.
_POSTGRESQL: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    # One that vanished holds its locks no longer than that either.
    "options": f"-c lock_timeout={BUSY_SECONDS:.0f}s -c idle_in_transaction_session_timeout=60s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
# Connection errors, too many connections, shut down, crashed, starting; ended as it did nothing in a transaction;
# serialization failure and deadlock; a lock that did not come free: nothing was stored, and asking again may do.
_LOST_STATES = ("08", "53300", "57P01", "57P02", "57P03", "25P03", "40001", "40P01", "55P03")
_DAMAGED = ("not a database", "malformed", "unsupported file format")


def make_engine(url: URL) -> Engine:
    """An engine for SQLite or PostgreSQL; nothing is connected yet.

    Raises:
        StorageError: the driver for PostgreSQL is not installed.
    """
    serializer = partial(json.dumps, allow_nan=False, ensure_ascii=False)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, serializer)
    engine = create_engine(
        url,
        json_serializer=serializer,
        connect_args={"timeout": BUSY_SECONDS},
        max_overflow=_MOST_CONNECTIONS,
        hide_parameters=True,  # errors are logged, and there may be secrets in what was stored
    )
    engine.dialect.statement_compiler = _Advised
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL, serializer: Callable[[Any], str]) -> Engine:
    settings = {name: value for name, value in _POSTGRESQL.items() if name not in url.query}
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            json_serializer=serializer,
            connect_args=settings,
            hide_parameters=True,
            pool_pre_ping=True,  # the server may have been restarted since the connection was made
            max_overflow=_MOST_CONNECTIONS,
        )
    except ImportError as error:
        raise StorageError(
            f"{place_of(url)} needs the driver for PostgreSQL: pip install 'bitfront[postgres]'"
        ) from error


class _Advised(SQLiteCompiler):
    """Writes the hints of a query, such as INDEXED BY, which SQLAlchemy leaves out for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # The driver would begin transactions late and by itself; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -64000")  # KiB; the sorted indexes of a large experiment are as large
    cursor.execute("PRAGMA synchronous = NORMAL")  # in WAL mode this loses nothing when a process dies
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns into a writer half way fails at once with "database is locked" when another
    # wrote in between; a writer that says so at its beginning waits for its turn.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def use_wal(engine: Engine) -> None:
    """Let readers and the writer of a SQLite file work at once; the file remembers it."""
    until = time.monotonic() + BUSY_SECONDS
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        while cursor.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # This statement does not wait for a lock by itself.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.02)
        cursor.close()
    finally:
        raw.close()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database.

    Raises:
        StorageError, CorruptFileError, ConflictError: as `explained`.
    """
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with explained(engine.url), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is stored whole at the end, or not at all; with SQLite it is alone in writing.

    Raises:
        StorageError, CorruptFileError, ConflictError: as `explained`.
    """
    with explained(engine.url), engine.execution_options(**{_WRITES: True}).connect() as connection:
        transaction = connection.begin()
        try:
            yield connection
        except BaseException:
            transaction.rollback()
            raise
        with explained(engine.url, committing=True):
            transaction.commit()


def outside_transactions(engine: Engine, *statements: str) -> None:
    """Execute what a database does only outside of transactions.

    Raises:
        StorageError, CorruptFileError: as `explained`.
    """
    with explained(engine.url):
        raw = engine.raw_connection()
        try:
            if engine.dialect.name == "postgresql":
                raw.driver_connection.autocommit = True  # type: ignore[union-attr]
            for statement in statements:
                raw.cursor().execute(statement)
        finally:
            raw.invalidate()  # what was set stays with this connection
            raw.close()


@contextmanager
def explained(url: URL, committing: bool = False) -> Iterator[None]:
    """Turn a database's errors into ours.

    Raises:
        LostError: the database is gone; ``unknown`` where it went while ``committing``.
        StorageError: the disk is full, the file can not be written or opened, the database is busy or gone.
        CorruptFileError: the file is damaged or no database.
        ConflictError: a row refers to something that is not there, or is there twice.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise StorageError(f"{place_of(url)}: all connections are in use ({error}): try again") from error
    except (DBAPIError, sqlite3.Error) as error:
        raise _meaning(error, url, committing) from error


def _meaning(error: DBAPIError | sqlite3.Error, url: URL, committing: bool) -> BitfrontError:
    words = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    place = place_of(url)
    if isinstance(error, DBAPIError) and _is_lost(error):
        doubt = "Whether the last change was stored is unknown." if committing else "Nothing was stored."
        return LostError(f"{place} does not answer ({words}). {doubt} Check that it can be reached.", committing)
    if isinstance(error, IntegrityError):
        return ConflictError(f"{place}: {words}; nothing was stored")
    if any(sign in words for sign in _DAMAGED):
        return CorruptFileError(
            f"{place} is damaged or not a bitfront store ({words}): restore it from a backup, "
            "or set BITFRONT_HOME to another folder"
        )
    return StorageError(f"{place}: {words}. {_advice(words)} What was stored before is unchanged.")


def _is_lost(error: DBAPIError) -> bool:
    """Whether the connection broke or was never made, or the server gave this one up for another's sake."""
    # Only PostgreSQL's errors have a state: None before there is a session.
    state = getattr(error.orig, "sqlstate", "")
    broke = error.connection_invalidated or state is None or state.startswith(_LOST_STATES)
    # One that did nothing for long within a transaction is ended with an internal error.
    return isinstance(error, OperationalError | InternalError) and broke


def _advice(words: str) -> str:
    if "full" in words or "No space left" in words:
        return "Free disk space and try again."
    if "readonly" in words or "unable to open" in words:
        return "Make the folder writable, or set BITFRONT_HOME to another one."
    if "locked" in words:
        return f"Another process has been writing for more than {BUSY_SECONDS:.0f} seconds: try again."
    return "Check that the database can be reached."


def place_of(url: URL) -> str:
    """Where the store is, for people; without a password, wherever in the URL it stands."""
    if url.get_backend_name() == "sqlite" and url.database:
        return f"store {Path(str(url.database))}"
    secret = [name for name in url.query if "password" in name.lower()]
    return f"store {url.difference_update_query(secret).render_as_string()}"
