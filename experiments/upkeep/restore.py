"""Put a backup in the place of a home: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from bitfront.experiments.store.backups import check_backup
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import DATABASE, open_store, store_url
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.upkeep.archive import about, unpack
from bitfront.experiments.upkeep.backup import STORE, BackupError
from bitfront.experiments.worker.recovery import experiments
from bitfront.experiments.worker.roster import living_workers
from bitfront.supernet.errors import BitfrontError, MissingFileError, StorageError, UnsupportedError
from bitfront.supernet.progress import Progress

RESTORED = "it ran when the backup was made"
_WITH_PATHS = ("supernets", "predictors", "device_tables", "exports")


def put_back(archive: Path, home: Path, force: bool, progress: Progress) -> int:
    """Make ``home`` what it was when ``archive`` was written; returns how many files that are.

    What ran then is INTERRUPTED, or CANCELLED if it was about to be.

    Raises:
        BackupError: ``home`` holds something and ``force`` is False, or somebody works in it.
        MissingFileError: there is no such archive.
        CorruptFileError: it is damaged.
        UnsupportedError: the store is PostgreSQL.
        StorageError: the home can not be written. Whatever is raised, the home is as it was.
    """
    if not archive.is_file():
        raise MissingFileError(f"there is no backup {archive}: name a file that 'bitfront backup' wrote")
    if store_url(home).get_backend_name() != "sqlite":
        raise UnsupportedError(f"the store is PostgreSQL, as {DATABASE} says: put it back with its own pg_restore")
    _refuse(home, force)
    was_at = str(about(archive).get("home", home))
    beside = home.with_name(f".{home.name}.{os.getpid()}.restoring")
    try:
        count = 0
        total = archive.stat().st_size
        read = 0
        for _, size in unpack(archive, beside):
            count, read = count + 1, read + size
            progress(min(read, total), total)
        _make_ready(beside, Path(was_at), home)
        _swap(beside, home)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return count


def _refuse(home: Path, force: bool) -> None:
    if home.exists() and not home.is_dir():
        raise BackupError(f"{home} is no folder: choose another with --home or BITFRONT_HOME")
    if not home.is_dir() or not any(home.iterdir()):
        return
    if not force:
        raise BackupError(f"{home} holds experiments: choose another home, or replace them with --force")
    for record in living_workers(home):
        raise BackupError(f"the worker {record.owner} uses {home}: stop it first")
    for owner in _working(home):
        raise BackupError(f"{owner} works on an experiment in {home}: cancel it, or wait until it has ended")


def _working(home: Path) -> list[str]:
    try:
        with open_store(home) as store:
            owners = [one.owner for one in _held(store)]
    except BitfrontError:  # a damaged store is what a backup is for
        return []
    return [str(owner) for owner in owners if owner is not None and owner.is_here and owner.is_alive]


def _make_ready(folder: Path, was_at: Path, home: Path) -> None:
    check_backup(folder / STORE)
    with closing(sqlite3.connect(folder / STORE)) as raw:
        for table in _WITH_PATHS:
            raw.execute(
                f"UPDATE {table} SET path = ? || substr(path, ?) WHERE substr(path, 1, ?) = ?",
                (str(home), len(str(was_at)) + 1, len(str(was_at)) + 1, f"{was_at}/"),
            )
        raw.commit()
    with open_store(folder) as store:
        # Their processes may even live, but they work for the home that the backup was made of.
        for one in _held(store):
            over = Status.INTERRUPTED if one.status is Status.RUNNING else Status.CANCELLED
            store.set_status(one.id, over, RESTORED)


def _held(store: Store) -> list[Experiment]:
    return [*experiments(store, Status.RUNNING), *experiments(store, Status.CANCELLING)]


def _swap(new: Path, home: Path) -> None:
    old = home.with_name(f".{home.name}.{os.getpid()}.replaced")
    try:
        if home.is_dir():
            home.rename(old)
        try:
            new.rename(home)
        except OSError:
            if old.is_dir():
                old.rename(home)
            raise
    except OSError as error:
        raise StorageError(
            f"can not put {home} in its place: {error.strerror or error}. It is as it was"
        ) from error
    shutil.rmtree(old, ignore_errors=True)
