"""The second half of making a data set: classes numbered, splits cut and shuffled, written as memory maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError, Split
from bitfront.supernet.data.readers.base import Reader
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.data.splitting import SPLITS, Rows, split_rows
from bitfront.supernet.data.spool import Spooled, spool
from bitfront.supernet.progress import Progress

_ROWS_AT_ONCE = 1024
_SPOOL = "spool"


def build(reader: Reader, settings: DataSettings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write ``train.images.npy``, ``train.labels.npy`` and so on into ``folder``.

    Returns:
        What else is known, JSON-able: class names, mean and std, digest of each split, what was left out.

    Raises:
        DataError: as `spool`; there is no training split, a class has no training image, or a split is too small.
    """
    spooled = spool(reader, settings, folder / _SPOOL, progress)
    rows, outside = _published(spooled, reader.by_name, settings.path)
    labels, names = _numbered(spooled.labels, rows, reader.class_names(), settings.path)
    shares = {"validation": settings.validation, "test": settings.test}
    rows = split_rows(labels, rows, shares, settings.seed)
    images = spooled.images()
    digests = {name: _write(folder, name, images, labels, rows[name]) for name in SPLITS}
    mean, std = _moments(np.load(folder / "train.images.npy", mmap_mode="r", allow_pickle=False))
    spooled.file.unlink()
    return {
        "class_names": names,
        "mean": mean,
        "std": std,
        "digests": digests,
        "broken": {"count": spooled.broken, "first": spooled.listed},
        "outside": outside,
    }


def _published(spooled: Spooled, by_name: bool, path: str) -> tuple[dict[str, Rows], int]:
    """Rows of the splits that the source has, and how many images lie outside of them."""
    order = np.argsort(np.array(spooled.places), kind="stable") if by_name else np.arange(len(spooled.places))
    splits = np.array([split or "" for split in spooled.splits])[order]
    found = {name: order[splits == name] for name in SPLITS if (splits == name).any()}
    if not found:
        return {"train": order}, 0
    if "train" not in found:
        raise DataError(
            f"{path} has a {next(iter(found))} split and no training split: name a folder or file of it train"
        )
    return found, int((splits == "").sum())


def _numbered(
    labels: Sequence[int | str], rows: Mapping[str, Rows], names: tuple[str, ...] | None, path: str
) -> tuple[NDArray[np.int64], list[str]]:
    """Labels as numbers, and the names of the classes: the source's own, or the training split's, sorted.

    Rows that belong to no split keep -1.
    """
    used = np.concatenate(list(rows.values()))
    kinds = {type(labels[row]) for row in used}
    if len(kinds) > 1:
        raise DataError(f"{path} has numbers and names as labels: use one of the two")
    numbers = np.full(len(labels), -1, dtype=np.int64)
    if kinds == {str}:
        known = list(names or sorted({str(labels[row]) for row in rows["train"]}))
        place = {name: i for i, name in enumerate(known)}
        numbers[used] = [place.get(str(labels[row]), -1) for row in used]
    else:
        numbers[used] = [labels[row] for row in used]
        known = list(names or map(str, range(len(np.unique(numbers[rows["train"]])))))
    _check_classes(labels, numbers, used, rows["train"], len(known), path)
    return numbers, known


def _check_classes(
    labels: Sequence[int | str], numbers: NDArray[np.int64], used: Rows, train: Rows, count: int, path: str
) -> None:
    outside = used[(numbers[used] < 0) | (numbers[used] >= count)]
    if len(outside):
        label = labels[outside[0]]
        fix = "number them from 0 without gaps" if isinstance(label, int) else "add some"
        raise DataError(f"label {label!r} in {path} is no class of the training images: {fix}, or take it out")
    lacking = np.setdiff1d(np.arange(count), numbers[train])
    if len(lacking):
        raise DataError(
            f"class {lacking[0]} of {count} in {path} has no training image: add some, or number the others anew"
        )


def _write(folder: Path, name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], rows: Rows) -> str:
    """Write one split; returns its digest."""
    file = folder / f"{name}.images.npy"
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:]))
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        out[first : first + _ROWS_AT_ONCE] = images[rows[first : first + _ROWS_AT_ONCE]]
    out.flush()
    np.save(folder / f"{name}.labels.npy", labels[rows], allow_pickle=False)
    return Split(out, labels[rows]).digest


def _moments(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """(mean, std) per channel of pixel values in 0..1, from exact sums; a channel without contrast gets std 1."""
    sums = np.zeros((2, images.shape[1]))
    for first in range(0, len(images), _ROWS_AT_ONCE):
        some = images[first : first + _ROWS_AT_ONCE].astype(np.uint32)
        sums += some.sum((0, 2, 3), dtype=np.int64), (some * some).sum((0, 2, 3), dtype=np.int64)
    mean, square = sums / (images.size / images.shape[1])
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return (mean / 255).tolist(), np.where(std > 0, std / 255, 1.0).tolist()
