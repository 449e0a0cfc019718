"""Bundles are written whole or not at all: beside their place, with sums, and then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bitfront.experiments.bundle.names import SUMS, is_file_name, sums_text
from bitfront.experiments.bundle.place import refuse_foreign, writing
from bitfront.experiments.bundle.swap import ASIDE, put_in_place

_NO_LOCKS = frozenset({errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EBADF, errno.EINVAL})
"""How file systems say that a folder can not be locked: what is left there by a killed writer stays."""


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files``, and ``SHA256SUMS`` of them, as the only content of ``folder``.

    A reader sees what was there before or the whole new bundle, never a part, also after a kill; what an earlier
    call that was killed left beside ``folder`` is removed. Names are relative, with ``/`` between folders.

    Raises:
        StorageError: the disk is full, or something is in the way (`check_place`); all is as it was before.
        ValueError: a name leads elsewhere.
    """
    wrong = [name for name in files if not is_file_name(name) or name == SUMS]
    if wrong:
        raise ValueError(f"files of a bundle can not be called {wrong}")
    with _beside(folder) as (part, place):
        summed = with_sums(files)
        for name, data in summed.items():
            _write(part / name, data)
        _sync_folders(part)
        _check_is_whole(part, summed)
        put_in_place(part, place)
        with contextlib.suppress(OSError):  # it is in place
            _sync_folder(place.parent)


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """``files`` with ``SHA256SUMS``, by name."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {**files, SUMS: sums_text(digests.items()).encode()}


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(An empty folder beside the place, the place): what is in it at the end is removed."""
    with writing(folder) as place:
        refuse_foreign(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _clean(place)
        with _locked_folder(place) as part:
            yield part, place


def _clean(place: Path) -> None:
    """Remove what killed writers left, and put back what one had put aside; who still writes holds a lock."""
    name = glob.escape(f".{place.name}.")
    for aside in place.parent.glob(f"{name}*.part{ASIDE}"):
        if _is_held(aside.with_suffix("")):
            continue
        if not place.exists():
            with contextlib.suppress(FileNotFoundError):  # another put it back just now
                aside.rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    for left in place.parent.glob(f"{name}*.part"):
        with contextlib.suppress(OSError), _lock(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    try:
        with _lock(folder):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def _locked_folder(place: Path) -> Iterator[Path]:
    with contextlib.ExitStack() as held:
        part = _new_folder(place, held)
        while part is None:
            part = _new_folder(place, held)
        yield part


def _new_folder(place: Path, held: contextlib.ExitStack) -> Path | None:
    """A folder that is locked and, at the end, removed; None where another took it for one that was left."""
    part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
    held.callback(shutil.rmtree, part, ignore_errors=True)
    part.mkdir()
    try:
        held.enter_context(_lock(part))
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return part if part.is_dir() else None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with this process.

    Raises:
        OSError: another has it (BlockingIOError), the folder is gone, or the file system has no locks.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def _check_is_whole(part: Path, names: Iterable[str]) -> None:
    """Locks do not reach to other machines, nor to programs that tidy up."""
    gone = next((name for name in names if not (part / name).is_file()), None)
    if gone is not None:
        raise FileNotFoundError(errno.ENOENT, f"another process removed {gone} while it was written")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(part: Path) -> None:
    for around, _, _ in os.walk(part):
        _sync_folder(Path(around))


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
