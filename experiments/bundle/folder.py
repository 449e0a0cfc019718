"""Bundles are written whole or not at all: beside their place, with sums, and then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from bitfront.experiments.bundle.names import MANIFEST, SUMS, is_file_name, read_sums, sums_text
from bitfront.experiments.bundle.swap import ASIDE, put_in_place
from bitfront.supernet.errors import StorageError

_BEFORE_BUNDLES = frozenset({MANIFEST, "model.onnx"})
_MOST_NAMED = 3


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
        for name, data in with_sums(files).items():
            _write(part / name, data)
        _sync_folders(part)
        put_in_place(part, place)
        with contextlib.suppress(OSError):  # it is in place
            _sync_folder(place.parent)


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """``files`` with ``SHA256SUMS``, by name."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {**files, SUMS: sums_text(digests.items()).encode()}


def check_place(folder: Path) -> None:
    """Whether a bundle could be written there, asked before work that takes long.

    Raises:
        StorageError: what is there is no folder, or holds files that are no bundle's; it is the folder that this
            process is in; or the folder around it can not be written.
    """
    with _beside(folder):
        pass


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(An empty folder beside the place, the place): what is in it at the end is removed."""
    try:
        place = folder.resolve()
        _refuse_foreign(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _clean(place)
        with _locked_folder(place) as part:
            yield part, place
    except OSError as error:
        raise StorageError(
            f"can not write the bundle {folder}: {error.strerror or error}. Free space, or choose another folder "
            "with -o, in one that can be written; what was there before is unchanged, and no part of it is left."
        ) from error


def _refuse_foreign(place: Path) -> None:
    if place == Path.cwd():
        raise StorageError(f"{place} is where you are, and a bundle replaces its folder: name one in it with -o")
    if place.exists() and not place.is_dir():
        raise StorageError(f"{place} is no folder, so that no bundle can be written there: choose another with -o")
    if os.path.ismount(place):
        raise StorageError(f"{place} is mounted, and a bundle replaces its folder: name one in it with -o")
    own = _own_files(place)
    foreign = sorted(islice((name for name in _names_in(place) if name not in own), _MOST_NAMED + 1))
    if foreign:
        named = ", ".join([*foreign[:_MOST_NAMED], *(["..."] if len(foreign) > _MOST_NAMED else [])])
        raise StorageError(
            f"{place} holds what is no bundle's ({named}), and a bundle replaces its folder: "
            "choose an empty or a new folder with -o, or take these away"
        )


def _names_in(place: Path) -> Iterator[str]:
    """All that is there but folders; of an empty folder its own name."""
    for around, folders, files in os.walk(place):
        at = Path(around)
        links = [name for name in folders if (at / name).is_symlink()]
        yield from ((at / name).relative_to(place).as_posix() for name in (*files, *links))
        if at != place and not folders and not files:
            yield at.relative_to(place).as_posix()


def _own_files(place: Path) -> frozenset[str]:
    """What an earlier export left there, as far as its own list tells."""
    if not (place / SUMS).is_file():
        return _BEFORE_BUNDLES if (place / MANIFEST).is_file() else frozenset()
    try:
        return frozenset({SUMS, *read_sums((place / SUMS).read_text())})
    except (OSError, ValueError):
        return frozenset()


def _clean(place: Path) -> None:
    """Remove what killed writers left, and put back what one had put aside; who still writes holds a lock."""
    name = glob.escape(f".{place.name}.")
    for aside in place.parent.glob(f"{name}*.part{ASIDE}"):
        if not place.exists():
            aside.rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    for left in place.parent.glob(f"{name}*.part"):
        with contextlib.suppress(OSError), _lock(left):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked_folder(place: Path) -> Iterator[Path]:
    part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir()
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):  # a file system without locks: what is left there stays
                held.enter_context(_lock(part))
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with this process.

    Raises:
        OSError: another has it, or the file system has none.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


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
