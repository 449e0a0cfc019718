"""Where a bundle may be: in a new or an empty folder, or in the place of an old bundle."""

from __future__ import annotations

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


def refuse_foreign(place: Path) -> None:
    """Raise StorageError if something would be lost by a bundle that replaces the folder ``place``."""
    if place == Path.cwd():
        raise StorageError(f"{place} is where you are, and a bundle replaces its folder: name one in it with -o")
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
