"""Who uses a home, and how all that it holds is replaced while nobody does: whole, or not at all.

The folder itself stays, as it may be a mount point, or lie where nobody but root may write. Its entries are moved:

1. ``.restoring`` holds all that comes; the home is as it was.
2. ``.replacing`` takes what goes, entry by entry. Cut off here, it is put back.
3. ``.replacing`` becomes ``.replaced``, and what comes is moved out. Cut off here, the rest follows.
4. ``.replaced`` becomes ``.removing`` and is deleted.

`finish_swap` does what was cut off; whoever opens the store does so first.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitfront.supernet.errors import BitfrontError, StorageError

NEW = ".restoring"
_GOING, _GONE, _REMOVED = ".replacing", ".replaced", ".removing"
OF_SWAPS = (NEW, _GOING, _GONE, _REMOVED)
"""Entries of a home that belong to a swap, and to no backup."""

LOST_AND_FOUND = "lost+found"
"""An entry of a home that is the root of a file system, and belongs to that: neither moved nor backed up."""

_WAIT_SECONDS = 3.0
"""For how long a lock is waited for: others hold it for a moment whenever they open the store."""
_LOG = logging.getLogger(__name__)


class InUseError(BitfrontError):
    """A home is used by somebody, so that it can not be replaced."""


@contextmanager
def in_use(home: Path) -> Iterator[None]:
    """While this process uses ``home``, as any number may: nobody replaces it. A process that dies uses nothing.

    Raises:
        StorageError: it is being replaced.
    """
    with _locked(home, fcntl.LOCK_SH) as held:
        if not held:
            raise StorageError(f"{home} is being restored from a backup: try again when that is done")
        yield


@contextmanager
def used_by_nobody(home: Path) -> Iterator[None]:
    """While nobody else can use ``home``.

    Raises:
        InUseError: somebody uses it.
    """
    with _locked(home, fcntl.LOCK_EX) as held:
        if not held:
            raise InUseError(f"a server, a worker or another command uses {home}: stop it first")
        yield


@contextmanager
def opening(home: Path) -> Iterator[None]:
    """While its store is opened, after finishing a swap that was cut off.

    Raises:
        StorageError: it is being replaced, or what was cut off can not be finished.
    """
    if is_cut_off(home):
        try:
            with used_by_nobody(home):
                finish_swap(home)
        except InUseError as error:
            raise StorageError(f"{home} is being restored from a backup: try again when that is done") from error
    with in_use(home):
        yield


def swap(home: Path) -> None:
    """Replace all that is in ``home`` by what is in its `NEW`; only while `used_by_nobody`.

    Raises:
        StorageError: it fails; the home is as it was, or what was begun is undone or done when it is used next.
    """
    try:
        sync(home / NEW)
        _replace(home)
    except OSError as error:
        left = "What was begun is finished when it is used next" if is_cut_off(home) else "It is as it was"
        raise StorageError(f"can not replace what is in {home}: {error.strerror or error}. {left}") from error
    _remove(home)


def is_cut_off(home: Path) -> bool:
    """Whether a swap was begun that is neither done nor undone."""
    return any((home / name).is_dir() for name in (_GOING, _GONE))


def finish_swap(home: Path) -> None:
    """Do or undo what a swap left that was cut off; only while `used_by_nobody`.

    Raises:
        StorageError: entries can not be moved.
    """
    try:
        if (home / _GOING).is_dir():
            _move(home / _GOING, home)
            (home / _GOING).rmdir()
        if (home / _GONE).is_dir():
            _arrive(home)
    except OSError as error:
        raise StorageError(
            f"can not finish what a restore of {home} began: {error.strerror or error}. Mend that, and try again"
        ) from error
    _remove(home)


def sync(folder: Path) -> None:
    """Have all that is in a folder on the disk, and not only on its way there."""
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(home: Path) -> None:
    try:
        (home / _GOING).mkdir(0o700)
        _move(home, home / _GOING)
        (home / _GOING).rename(home / _GONE)
        _arrive(home)
    except BaseException:
        _undo(home)
        raise


def _arrive(home: Path) -> None:
    if (home / NEW).is_dir():
        _move(home / NEW, home)
        (home / NEW).rmdir()
    _sync_entries(home)
    (home / _GONE).rename(home / _REMOVED)


def _undo(home: Path) -> None:
    if (home / _GONE).is_dir():  # what is beside it has come
        (home / NEW).mkdir(exist_ok=True)
        _move(home, home / NEW)
        (home / _GONE).rename(home / _GOING)
    if (home / _GOING).is_dir():
        _move(home / _GOING, home)
        (home / _GOING).rmdir()


def _move(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.name not in (*OF_SWAPS, LOST_AND_FOUND):
            path.rename(target / path.name)
    _sync_entries(target)
    _sync_entries(source)


def _sync_entries(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(home: Path) -> None:
    for name in (NEW, _REMOVED):
        with suppress(FileNotFoundError):
            try:
                shutil.rmtree(home / name)
            except FileNotFoundError:
                raise
            except OSError as error:
                _LOG.warning("can not delete %s, which nobody needs: %s", home / name, error.strerror or error)


@contextmanager
def _locked(home: Path, how: int) -> Iterator[bool]:
    """Whether the lock is held; also where there is none: no folder yet, or a file system without locks."""
    try:
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield True
        return
    try:
        yield _lock(descriptor, how)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
        except OSError:
            return True
        time.sleep(0.02)
