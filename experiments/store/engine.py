"""A connection to the database: one writer at a time, and errors in words."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from bitfront.experiments.store.errors import ConflictError
from bitfront.supernet.errors import BitfrontError, CorruptFileError, StorageError

BUSY_SECONDS = 30.0
_WRITES = "bitfront_writes"
_DAMAGED = ("not a database", "malformed", "unsupported file format")


def make_engine(url: URL) -> Engine:
    """An engine for SQLite or PostgreSQL; nothing is connected yet."""
    serializer = partial(json.dumps, allow_nan=False, ensure_ascii=False)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, json_serializer=serializer)
    engine = create_engine(url, json_serializer=serializer, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # The driver would begin transactions late and by itself; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
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
    with explained(engine.url), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is alone in writing; it is stored whole at the end, or not at all.

    Raises:
        StorageError, CorruptFileError, ConflictError: as `explained`.
    """
    with explained(engine.url), engine.execution_options(**{_WRITES: True}).begin() as connection:
        yield connection


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn a database's errors into ours.

    Raises:
        StorageError: the disk is full, the file can not be written or opened, the database is busy or gone.
        CorruptFileError: the file is damaged or no database.
        ConflictError: a row refers to something that is not there, or is there twice.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise _meaning(error, url) from error


def _meaning(error: DBAPIError | sqlite3.Error, url: URL) -> BitfrontError:
    words = str(error.orig if isinstance(error, DBAPIError) else error)
    place = place_of(url)
    if isinstance(error, IntegrityError):
        return ConflictError(f"{place}: {words}; nothing was stored")
    if any(sign in words for sign in _DAMAGED):
        return CorruptFileError(
            f"{place} is damaged or not a bitfront store ({words}): restore it from a backup, "
            "or set BITFRONT_HOME to another folder"
        )
    return StorageError(f"{place}: {words}. {_advice(words)} What was stored before is unchanged.")


def _advice(words: str) -> str:
    if "full" in words:
        return "Free disk space and try again."
    if "readonly" in words or "unable to open" in words:
        return "Make the folder writable, or set BITFRONT_HOME to another one."
    if "locked" in words:
        return f"Another process has been writing for more than {BUSY_SECONDS:.0f} seconds: try again."
    return "Check that the database can be reached."


def place_of(url: URL) -> str:
    """Where the store is, for people; without a password."""
    is_file = url.get_backend_name() == "sqlite" and url.database
    return f"store {Path(str(url.database))}" if is_file else f"store {url.render_as_string()}"
