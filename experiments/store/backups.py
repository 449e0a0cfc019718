"""Copies of a SQLite store: made while it is used, and checked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from bitfront.experiments.store.engine import explained, place_of
from bitfront.experiments.store.owner import Owner
from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError, UnsupportedError

# In one step: between two SQLite would begin anew whenever somebody wrote, and it keeps no writer waiting.
_ALL_PAGES = -1


def write_backup(engine: Engine, path: Path) -> None:
    """See `Operations.backup`."""
    if engine.dialect.name != "sqlite":
        raise UnsupportedError(
            f"{place_of(engine.url)} is not a SQLite file: back it up with its own pg_dump --format=custom, "
            "and put it back with pg_restore"
        )
    if path.exists():
        raise StorageError(f"can not write the backup {path}: the file is there already, so choose another name")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explained(engine.url), contextlib.closing(engine.raw_connection()) as raw, _opened(beside) as copy:
            raw.driver_connection.backup(copy, pages=_ALL_PAGES)  # type: ignore[union-attr]
            # A copy is one file: nothing of it lies in a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        check_backup(beside)
        _to_disk(beside)
        beside.replace(path)
    except OSError as error:
        raise StorageError(f"can not write the backup {path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def check_backup(path: Path) -> None:
    """Look at every page of a copy.

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: it is damaged, or no bitfront store.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no backup {path}: name a file that a backup wrote")
    try:
        with _opened(path, "?mode=ro") as copy:
            found = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(3)")]
            broken = copy.execute("PRAGMA foreign_key_check").fetchone()
            copy.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise CorruptFileError(f"{path} is no sound copy of a bitfront store ({error}): use another") from error
    if found != ["ok"] or broken is not None:
        what = f"{broken[0]} refers to what is missing" if broken else "; ".join(found)
        raise CorruptFileError(f"the copy {path} is damaged ({what}): use another")


def owners_in(path: Path) -> list[Owner]:
    """Who holds experiments of a SQLite store, which is only read and not migrated; nobody where it is damaged."""
    with contextlib.suppress(sqlite3.DatabaseError), _opened(path, "?mode=ro") as store:
        held = store.execute("SELECT host, pid, process_started FROM experiments WHERE host IS NOT NULL")
        return [Owner(*process) for process in held]
    return []


@contextlib.contextmanager
def _opened(path: Path, how: str = "") -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}{how}", uri=True, timeout=30)) as raw:
        yield raw


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
