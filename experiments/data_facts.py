"""What can be said of a data set, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.supernet.data import DATASETS
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import UnknownNameError

_KINDS = {
    ".npz": "npz",
    ".parquet": "parquet",
    ".tar": "tar",
    ".tgz": "tar",
    ".gz": "tar",
    ".xz": "tar",
    ".bz2": "tar",
}


def source_of(text: str, kind: str | None, size: int | None, channels: int | None) -> str | DataSettings:
    """What `load_dataset` takes for a published name, or for a path whose kind is seen from its files.

    Raises:
        UnknownNameError: it is neither.
    """
    path = Path(text).expanduser()
    if text in DATASETS.names() and kind is None:
        return text
    if not path.exists():
        raise UnknownNameError("dataset or path", text, DATASETS.names())
    return DataSettings(kind or _kind(path), str(path), size=size, channels=channels, name=path.name)


def _kind(path: Path) -> str:
    if path.is_file():
        return _KINDS.get(path.suffix.lower(), "tar")
    names = [entry.name for entry in path.iterdir()]
    if any("idx" in name and "ubyte" in name for name in names):
        return "idx"
    return "parquet" if next(path.rglob("*.parquet"), None) else "folder"


def data_details(dataset: Dataset) -> dict[str, Any]:
    """Shape, classes, images of each class in each split, normalisation, hash, augmentation and notes."""
    splits = {name: dataset.split(name) for name in ("train", "validation", "test")}
    counts = {name: np.bincount(split.labels, minlength=dataset.classes) for name, split in splits.items()}
    return {
        "name": dataset.name,
        "images": {name: len(split) for name, split in splits.items()},
        "size": int(dataset.train.images.shape[-1]),
        "channels": dataset.channels,
        "classes": [
            {"class": label, **{split: int(count[row]) for split, count in counts.items()}}
            for row, label in enumerate(dataset.class_names)
        ],
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "augmentation": asdict(dataset.augmentation),
        "hash": dataset.hash,
        "notes": list(dataset.notes),
    }
