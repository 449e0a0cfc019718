"""Where a bundle may be: in a new or an empty folder, or in the place of an old bundle."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from bitfront.experiments.bundle.names import MANIFEST, SUMS, read_sums
from bitfront.supernet.errors import StorageError

_FORMAT = "bitfront bundle"
_BEFORE_BUNDLES = frozenset({MANIFEST, "model.onnx"})
_KEYS_BEFORE = frozenset({"genome", "layers", "preprocessing", "predicted", "measured", "hashes", "versions"})
_MOST_NAMED = 3
_MOST_BYTES = 256 << 20


def check_place(folder: Path) -> None:
    """Whether a bundle could be written there, asked before work that takes long; nothing is written.

    Raises:
        StorageError: what is there is no folder, or holds files that are no bundle's; it is mounted, or the folder
            that this process is in, or part of another bundle; or the folder around it can not be written.
    """
    with writing(folder) as place:
        refuse_foreign(place)
        around = next(one for one in place.parents if one.exists())
        if not around.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{around} is no folder")
        if not os.access(around, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{around} can not be written")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """The place that a folder stands for.

    Raises:
        StorageError: it can not be; or instead of any OSError that is raised with it in use.
    """
    try:
        yield _resolved(folder)
    except OSError as error:
        raise StorageError(
            f"can not write the bundle {folder}: {error.strerror or error}. Free space, or choose another folder "
            "with -o, in one that can be written; what was there before is unchanged, and no part of it is left."
        ) from error


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (ValueError, RuntimeError) as error:  # no name of a file, or links in a ring
        raise OSError(str(error)) from error


def refuse_foreign(place: Path) -> None:
    """Raise StorageError if something would be lost by a bundle that replaces the folder ``place``."""
    if Path.cwd().is_relative_to(place):
        raise StorageError(f"{place} is where you are, and a bundle replaces its folder: name one in it with -o")
    around = next((one for one in place.parents if own_files(one)), None)
    if around is not None:
        raise StorageError(
            f"{place} is in the bundle {around}, which holds no other: choose another folder with -o"
        )
    if place.exists() and not place.is_dir():
        raise StorageError(f"{place} is no folder, so that no bundle can be written there: choose another with -o")
    if os.path.ismount(place):
        raise StorageError(f"{place} is mounted, and a bundle replaces its folder: name one in it with -o")
    own = own_files(place)
    foreign = sorted(islice((name for name in _names_in(place) if name not in own), _MOST_NAMED + 1))
    if foreign:
        named = ", ".join([*foreign[:_MOST_NAMED], *(["..."] if len(foreign) > _MOST_NAMED else [])])
        raise StorageError(
            f"{place} holds what is no bundle's ({named}), and a bundle replaces its folder: "
            "choose an empty or a new folder with -o, or take these away"
        )


def _names_in(place: Path) -> Iterator[str]:
    """All that is there but folders; of an empty folder its own name."""
    if not place.exists():
        return
    for around, folders, files in os.walk(place, onerror=_raise):
        at = Path(around)
        links = [name for name in folders if (at / name).is_symlink()]
        yield from ((at / name).relative_to(place).as_posix() for name in (*files, *links))
        if at != place and not folders and not files:
            yield at.relative_to(place).as_posix()


def own_files(folder: Path) -> frozenset[str]:
    """What an earlier export left there; nothing unless a manifest that bitfront wrote is among it.

    Lists of sums and files called ``manifest.json`` are in many a folder that is no bundle.
    """
    told = _manifest(folder)
    if told.get("format") == _FORMAT:
        summed = _summed(folder)
        return summed if MANIFEST in summed else frozenset()
    is_older = told.keys() >= _KEYS_BEFORE and all((folder / name).is_file() for name in _BEFORE_BUNDLES)
    return _BEFORE_BUNDLES if is_older else frozenset()


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _summed(folder: Path) -> frozenset[str]:
    try:
        return frozenset({SUMS, *read_sums((folder / SUMS).read_text())})
    except (OSError, ValueError):
        return frozenset()


def _raise(error: OSError) -> None:
    raise error
