"""A bundle that comes from anywhere, read: its plain files alone, and not more of them than a bundle can have."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from bitfront.experiments.bundle.checks import refuse
from bitfront.experiments.bundle.names import MANIFEST, SUMS, is_file_name, read_sums
from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError

_MOST_FILES = 1000
_MOST_BYTES = 4 << 30


def read_bundle(folder: Path) -> dict[str, bytes]:
    """The content of every file by name, with ``/`` between folders.

    Raises:
        MissingFileError: there is no such folder, or it is no bundle's.
        CorruptFileError: it holds links or other things that no bundle has, or too much.
        StorageError: a file can not be read.
    """
    try:
        if not any((folder / name).exists() for name in (SUMS, MANIFEST)):
            raise MissingFileError(f"{folder} is no bundle: it has neither {SUMS} nor {MANIFEST}; give its folder")
        paths = dict(islice(_paths(folder), _MOST_FILES + 1))
        size = sum(path.stat().st_size for path in paths.values())
        if size > _MOST_BYTES or len(paths) > _MOST_FILES:
            raise CorruptFileError(f"{folder} holds more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB")
        return {name: path.read_bytes() for name, path in sorted(paths.items())}
    except OSError as error:
        raise StorageError(f"can not read {folder}: {error.strerror or error}. Look at its permissions") from error


def _paths(folder: Path) -> Iterator[tuple[str, Path]]:
    for around, folders, names in os.walk(folder, onerror=_raise):
        for path in (Path(around, name) for name in (*folders, *names)):
            name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and is_file_name(name)):
                raise CorruptFileError(f"{folder} holds {name!r}, which no bundle has: take it away")
            if not stat.S_ISDIR(mode):
                yield name, path


def _raise(error: OSError) -> None:
    raise error


def look_at_sums(files: Mapping[str, bytes]) -> str:
    """Compare all files with ``SHA256SUMS``; says what was compared.

    Raises:
        ValueError: a sum does not hold, or a file has none, or there is a sum of no file.
    """
    if SUMS not in files:
        raise ValueError(f"{SUMS} is missing")
    sums = read_sums(files[SUMS].decode(errors="replace"))
    refuse(
        [
            *(f"{name} is missing" for name in sorted(sums.keys() - files.keys())),
            *(f"{name} is not of this bundle" for name in sorted(files.keys() - sums.keys() - {SUMS})),
            *(
                f"{name} was changed"
                for name in sorted(sums.keys() & files.keys())
                if hashlib.sha256(files[name]).hexdigest() != sums[name]
            ),
        ]
    )
    return f"{len(sums)} files are what {SUMS} says"
