"""A NumPy archive of images and labels, with or without splits; pickled objects are never read."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.arrays import ArrayReader, Part
from bitfront.supernet.data.readers.layout import split_named

_IMAGES = frozenset(("x", "image", "images", "data"))
_LABELS = frozenset(("y", "label", "labels", "target", "targets"))
_CLASSES = "class_names"
_RULE = "name the arrays x_train, y_train, x_test, y_test, or train_images, train_labels, or images, labels"


class NpzReader(ArrayReader):
    """``x_train`` and ``y_train`` and so on, or ``train_images`` and ``train_labels``, or just ``images`` and
    ``labels``; ``class_names``, if it is there, names the classes.
    """

    def files(self) -> Iterator[Path]:
        """The archive."""
        yield self.path

    def parts(self) -> Mapping[str | None, Part]:
        """Pairs of arrays by split."""
        found: dict[str | None, dict[str, NDArray[np.generic]]] = {}
        for name, array in self._arrays.items():
            if place := _meaning(name):
                split, what = place
                found.setdefault(split, {})[what] = array
        whole = {split: arrays for split, arrays in found.items() if len(arrays) == 2}
        if not whole or len(whole) < len(found):
            raise DataError(
                f"{self.path} holds {', '.join(self._arrays) or 'no arrays'}, not images and labels: {_RULE}"
            )
        return {split: (arrays["images"], _flat(arrays["labels"])) for split, arrays in whole.items()}  # type: ignore[misc]

    def class_names(self) -> tuple[str, ...] | None:
        """The array ``class_names``."""
        names = self._arrays.get(_CLASSES)
        return None if names is None else tuple(map(str, names.ravel().tolist()))

    @cached_property
    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files if _meaning(name) or name == _CLASSES}
        except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{self.path} can not be read as an .npz of plain arrays ({error}): save it with numpy.savez, "
                "and labels as numbers or text, as pickled objects are never read"
            ) from error


def _meaning(name: str) -> tuple[str | None, str] | None:
    """(split, ``images`` or ``labels``) that an array's name stands for."""
    words = re.split(r"[_.-]", name.lower())
    splits = [split for word in words if (split := split_named(word))]
    others = [word for word in words if not split_named(word)]
    if len(others) != 1 or len(splits) > 1 or others[0] not in _IMAGES | _LABELS:
        return None
    return splits[0] if splits else None, "images" if others[0] in _IMAGES else "labels"


def _flat(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Labels of shape (n, 1), which many archives have, as (n,)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
