"""A data set by its name in the registry, or from a user's own files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitfront.supernet.data.build import build
from bitfront.supernet.data.cache import entry, key_of
from bitfront.supernet.data.dataset import DataError, Dataset
from bitfront.supernet.data.readers import READERS
from bitfront.supernet.data.readers.base import Reader
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress, silent

_NOT_DECODED = frozenset({"name", "augmentation", "path"})


def load_settings(settings: DataSettings, progress: Progress = silent) -> Dataset:
    """The data set in a user's files, decoded once and kept in the cache.

    Its images are memory maps. Its hash does not depend on where the files lie, nor on their format.

    Raises:
        DataError: the source can not be read, or does not hold what it must.
        StorageError: the cache can not be written.
        UnknownNameError: there is no such kind.
    """
    reader = READERS.get(settings.kind)(Path(settings.path).expanduser())
    splits, manifest = entry(_key(reader, settings), lambda folder: build(reader, settings, folder, progress))
    return Dataset(
        settings.name,
        tuple(manifest["class_names"]),
        splits["train"],
        splits["validation"],
        splits["test"],
        tuple(manifest["mean"]),
        tuple(manifest["std"]),
        settings.augmentation,
        _notes(settings.path, manifest),
    )


def _key(reader: Reader, settings: DataSettings) -> str:
    decided = {name: value for name, value in asdict(settings).items() if name not in _NOT_DECODED}
    try:
        files = [[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in reader.files()]
    except OSError as error:
        raise DataError(
            f"data.path = {settings.path} can not be read ({error.strerror or error}): give the path of the data"
        ) from error
    return key_of([decided, files])


def _notes(path: str, manifest: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if count := manifest["broken"]["count"]:
        first = "; ".join(manifest["broken"]["first"][:3])
        notes.append(f"{count} broken images in {path} are left out: {first}{'; ...' if count > 3 else ''}")
    if outside := manifest["outside"]:
        notes.append(f"{outside} images in {path} lie outside of its split folders and are left out")
    return tuple(notes)
