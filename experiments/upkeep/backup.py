"""A copy of a whole home in one file, made while experiments run."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.swapping import LOST_AND_FOUND, OF_SWAPS
from bitfront.experiments.upkeep.archive import ArchiveWriter
from bitfront.supernet.errors import BitfrontError, StorageError
from bitfront.supernet.progress import Progress

STORE = "bitfront.sqlite"
_LEFT_OUT = ("workers", LOST_AND_FOUND, *OF_SWAPS)  # who works now says nothing to the home that is restored
_COPY = ".bitfront-"
_LOG = logging.getLogger(__name__)
_PARTIAL = (".part", ".tmp", "-wal", "-shm", "-journal")


class BackupError(BitfrontError):
    """A backup can not be made, or put back, as asked."""


def back_up(store: Store, home: Path, path: Path, progress: Progress) -> int:
    """Write ``home`` to the new file ``path``; returns how many files are in it.

    The store comes first. All that it speaks of was there before it was copied, and is taken afterwards: a
    restored experiment may find more than it knows of, which it makes again with the same result, but never less.
    Links are left out, and a warning names each.

    Raises:
        BackupError: there is such a file.
        UnsupportedError: the store is PostgreSQL, which has ``pg_dump``.
        StorageError: something can not be read, or the file can not be written; none is left then.
    """
    if path.exists():
        raise BackupError(f"{path} is there already: choose another name")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Only for who wrote it: it holds the hashes of tokens, which others could guess at.
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            count = _write(store, home, file, {path.absolute(), beside.absolute()}, progress)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise StorageError(f"can not write {path}: {error.strerror or error}. Free space and try again") from error
    finally:
        beside.unlink(missing_ok=True)
    return count


def _write(store: Store, home: Path, file: IO[bytes], without: set[Path], progress: Progress) -> int:
    writer = ArchiveWriter(file)
    with tempfile.TemporaryDirectory(dir=Path(file.name).parent, prefix=_COPY) as folder:
        copy = Path(folder) / STORE
        store.backup(copy)
        writer.add(STORE, copy, home / STORE if (home / STORE).is_file() else None)
        found = [one for one in _files(home) if one.absolute() not in without]
        for done, one in enumerate(found):
            progress(done, len(found))
            name = one.relative_to(home).as_posix()
            writer.add(name, _still(one, Path(folder)) if one.suffix == ".sqlite" else one, one)
        progress(len(found), len(found))
    return writer.close(
        {"home": str(home), "version": version("bitfront"), "created_at": datetime.now(UTC).isoformat()}
    )


def _files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home)
        if inside.parts[0] in _LEFT_OUT or str(inside) == STORE or path.name.endswith(_PARTIAL):
            continue
        # Where it is written may be anywhere in the home, and a copy of the store lies beside it meanwhile.
        if any(one.startswith(_COPY) for one in inside.parts):
            continue
        if path.is_symlink():
            _LOG.warning("not in the backup: %s, as it is a link to %s. Back that up too", path, path.resolve())
        elif path.is_file():
            yield path


def _still(path: Path, folder: Path) -> Path:
    """A copy of a SQLite file that others may write to."""
    copy = folder / "other.sqlite"
    copy.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise StorageError(f"can not back up {path}: {error}. Mend it, or delete it") from error
    return copy
