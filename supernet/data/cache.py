"""Decoded data sets on disk: one folder each, complete or not there, checked when it is opened."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.supernet.data.dataset import DataError, Split
from bitfront.supernet.data.splitting import SPLITS
from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError
from bitfront.supernet.files import read_json, write_json

VERSION = 1
"""Part of every key: raise it when the same source would be decoded to something else."""
_MANIFEST = "manifest.json"
_ATTEMPTS = 5
_PART = ".part"
_STALE_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """``BITFRONT_CACHE``, or ``bitfront`` in the user's cache folder."""
    if own := os.environ.get("BITFRONT_CACHE"):
        return Path(own)
    usual = os.environ.get("XDG_CACHE_HOME")
    return (Path(usual) if usual else Path.home() / ".cache") / "bitfront"


def key_of(described: Any) -> str:
    """The name of an entry for what is ``described``, JSON-able."""
    text = json.dumps([VERSION, described], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def entry(key: str, make: Callable[[Path], dict[str, Any]]) -> tuple[dict[str, Split], dict[str, Any]]:
    """(splits, manifest) of an entry; ``make`` fills an empty folder and returns the manifest where there is none.

    Two processes may make the same entry at once: the first to end wins, and both read the same. An entry with a
    file that lacks or does not hold what was written is made anew.

    Raises:
        StorageError: the cache can not be written.
    """
    folder = cache_folder() / "datasets" / key
    with contextlib.suppress(CorruptFileError, MissingFileError):
        return _opened(folder)
    beside = folder.with_name(f".{key}.{uuid.uuid4().hex[:8]}{_PART}")
    try:
        _sweep(folder.parent)
        beside.mkdir(parents=True)
        manifest = make(beside)
        manifest["files"] = {path.name: _stamp(path) for path in sorted(beside.iterdir())}
        write_json(beside / _MANIFEST, {"digest": key_of(manifest), **manifest})
        _put(beside, folder)
    except OSError as error:
        raise StorageError(
            f"can not write the cache {folder.parent} ({error.strerror or error}): free space, or set "
            "BITFRONT_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _opened(folder)


def _sweep(datasets: Path) -> None:
    """Remove what killed processes left; a part that is still written to is younger."""
    for part in datasets.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (part, *part.iterdir())) > _STALE_SECONDS:
                shutil.rmtree(part, ignore_errors=True)


def _put(beside: Path, folder: Path) -> None:
    """Move a whole entry to its place. Maps of an entry that is moved away stay readable."""
    for attempt in range(_ATTEMPTS):
        try:
            beside.rename(folder)
            return
        except OSError:
            if attempt + 1 == _ATTEMPTS:
                raise
        with contextlib.suppress(CorruptFileError, MissingFileError):
            _opened(folder)
            return  # another process was faster
        old = folder.with_name(f"{beside.name}.old")
        with contextlib.suppress(OSError):  # another process may be mending the same entry
            folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def _opened(folder: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """(splits, manifest).

    Raises:
        MissingFileError, CorruptFileError: a file lacks, or holds something else than was written.
    """
    manifest = read_json(folder / _MANIFEST)
    try:
        if manifest.pop("digest") != key_of(manifest):
            raise ValueError(f"{_MANIFEST} was changed")
        touched = any(_stamp(folder / name) != stamp for name, stamp in manifest["files"].items())
        splits = {name: _split(folder, name, manifest["digests"][name]) for name in SPLITS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, DataError) as error:
        raise CorruptFileError(f"{folder} is damaged ({error}): delete it to have it made again") from error
    # Reading all at every start would take too long; so the content is compared only where a file was touched.
    if touched and any(Split(s.images, s.labels).digest != s.digest for s in splits.values()):
        raise CorruptFileError(f"{folder} does not hold what was written: delete it to have it made again")
    return splits, manifest


def _split(folder: Path, name: str, digest: str) -> Split:
    # Copy on write: torch wants memory that may be written, and nothing that is written gets to the disk.
    images = np.load(folder / f"{name}.images.npy", mmap_mode="c", allow_pickle=False)
    return Split.known(images, np.load(folder / f"{name}.labels.npy", allow_pickle=False), digest)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
