"""Put a backup in the place of a home: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from bitfront.experiments.store.backups import check_backup, owners_in
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import DATABASE, open_store, store_file, store_url
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.store.swapping import (
    LOST_AND_FOUND,
    NEW,
    OF_SWAPS,
    InUseError,
    finish_swap,
    is_cut_off,
    swap,
    used_by_nobody,
)
from bitfront.experiments.upkeep.archive import about, unpack
from bitfront.experiments.upkeep.backup import STORE, BackupError
from bitfront.experiments.upkeep.mounts import mounts_inside
from bitfront.experiments.worker.recovery import experiments
from bitfront.experiments.worker.roster import living_workers
from bitfront.supernet.errors import MissingFileError, StorageError, UnsupportedError
from bitfront.supernet.progress import Progress

RESTORED = "it ran when the backup was made"
_WITH_PATHS = ("supernets", "predictors", "device_tables", "exports")


def put_back(archive: Path, home: Path, force: bool, progress: Progress) -> int:
    """Make ``home`` what it was when ``archive`` was written; returns how many files that are.

    What ran then is INTERRUPTED, or CANCELLED if it was about to be. Nobody can use the home meanwhile. Nothing is
    written outside of it, so that it may be a mount point, or a link to where it is.

    Raises:
        BackupError: ``home`` holds something and ``force`` is False, or the archive, or a mount, or somebody works
            in it.
        MissingFileError: there is no such archive.
        CorruptFileError: it is damaged.
        UnsupportedError: the store is not in the home.
        StorageError: the home can not be written. Whatever is raised, the home is as it was.
    """
    if not archive.is_file():
        raise MissingFileError(f"there is no backup {archive}: name a file that 'bitfront backup' wrote")
    _check_store_is_inside(home)
    _refuse_archive_inside(archive, home)
    _refuse_mounts(home)
    was_at = Path(str(about(archive).get("home", home)))
    made = _make_folder(home)
    try:
        with used_by_nobody(home):
            finish_swap(home)
            _refuse(home, force)
            return _replaced(archive, was_at, home, progress)
    except InUseError as error:
        raise BackupError(str(error)) from error
    except BaseException:
        if made:
            with suppress(OSError):
                home.resolve().rmdir()
        raise


def _replaced(archive: Path, was_at: Path, home: Path, progress: Progress) -> int:
    new = home / NEW
    count, read, total = 0, 0, archive.stat().st_size
    try:
        for _, size in unpack(archive, new):
            count, read = count + 1, read + size
            progress(min(read, total), total)
        shutil.rmtree(new / LOST_AND_FOUND, ignore_errors=True)  # older backups have one
        _make_ready(new, was_at, home)
        _give_to_owner(new, home)
        _refuse_if_used(home)
        swap(home)
    finally:
        if not is_cut_off(home):  # else `finish_swap` needs it; where it was moved, there is none
            shutil.rmtree(new, ignore_errors=True)
    return count


def _check_store_is_inside(home: Path) -> None:
    url = store_url(home)
    if url.get_backend_name() != "sqlite":
        raise UnsupportedError(f"the store is PostgreSQL, as {DATABASE} says: put it back with its own pg_restore")
    if Path(str(url.database)).absolute() != store_file(home):
        raise UnsupportedError(
            f"the store is {url.database}, as {DATABASE} says, but a backup is put back into {home}: "
            f"unset {DATABASE}"
        )


def _refuse_archive_inside(archive: Path, home: Path) -> None:
    if archive.resolve().is_relative_to(home.resolve()):
        raise BackupError(f"{archive} lies in {home}, all of which it is to replace: move it elsewhere first")


def _refuse_mounts(home: Path) -> None:
    """What is mounted can not be moved, and all in it would be deleted with what goes."""
    for place in mounts_inside(home):
        raise BackupError(f"{place} is mounted in {home}, all of which is to be replaced: unmount it first")


def _make_folder(home: Path) -> bool:
    """Whether there was none; nobody else may look into one that is made here."""
    if home.exists() and not home.is_dir():
        raise BackupError(f"{home} is no folder: choose another with --home or BITFRONT_HOME")
    if home.is_dir():
        return False
    try:
        place = home.resolve()  # it may be a link to where nothing is yet
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(0o700)
    except OSError as error:
        raise StorageError(f"can not make the folder {home}: {error.strerror or error}") from error
    return True


def _refuse(home: Path, force: bool) -> None:
    if all(path.name in (*OF_SWAPS, LOST_AND_FOUND) for path in home.iterdir()):
        return
    if not force:
        raise BackupError(f"{home} holds experiments: choose another home, or replace them with --force")
    _refuse_if_used(home)


def _refuse_if_used(home: Path) -> None:
    """Refuse where a record says what no lock does: of other hosts, or where files can not be locked."""
    for record in living_workers(home):
        raise BackupError(f"the worker {record.owner} uses {home}: stop it first")
    for owner in _working(home):
        raise BackupError(f"{owner} works on an experiment in {home}: cancel it, or wait until it has ended")


def _working(home: Path) -> list[str]:
    return [str(owner) for owner in owners_in(store_file(home)) if owner.is_here and owner.is_alive]


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


def _give_to_owner(new: Path, home: Path) -> None:
    """Root restores what another user works with, and folders are as closed as the home is."""
    like = home.stat()
    try:
        for path in [new, *new.rglob("*")]:
            if os.geteuid() == 0:
                os.chown(path, like.st_uid, like.st_gid)
            if path.is_dir():
                path.chmod(stat.S_IMODE(like.st_mode))
    except OSError as error:
        raise StorageError(f"can not make {path} as {home} is: {error.strerror or error}") from error
