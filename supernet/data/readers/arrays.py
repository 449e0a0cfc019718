"""What readers of whole arrays share: named splits of images and labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.base import Item, Reader

Part = tuple[NDArray[np.uint8], NDArray[np.generic]]


class ArrayReader(Reader):
    """Hands out the rows of arrays: images (n, h, w[, channels]) or (n, channels, h, w) and labels (n,)."""

    _read = 0

    @abstractmethod
    def parts(self) -> Mapping[str | None, Part]:
        """(images, labels) of each split; their types, shapes and lengths are checked here."""

    def items(self) -> Iterator[Item]:
        """Rows in the order of the arrays, the training split first."""
        for split, (images, labels) in self._parts.items():
            for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
                self._read += 1
                yield Item(f"{split or 'image'} {row}", split, label, image)

    def fraction(self) -> float:
        """By images."""
        return self._read / max(1, sum(len(labels) for _, labels in self._parts.values()))

    @cached_property
    def _parts(self) -> Mapping[str | None, Part]:
        parts = self.parts()
        for split, (images, labels) in parts.items():
            self._check(split or "its", images, labels)
        return parts

    def _check(self, split: str, images: NDArray[np.uint8], labels: NDArray[np.generic]) -> None:
        if images.dtype != np.uint8:
            raise DataError(
                f"{self.path}: {split} images are {images.dtype}: convert pixels to uint8 (0 to 255), save again"
            )
        if labels.dtype.kind not in "iuU":
            raise DataError(
                f"{self.path}: {split} labels are {labels.dtype}: save whole numbers from 0, or names of classes"
            )
        if images.ndim not in (3, 4) or labels.shape != images.shape[:1]:
            raise DataError(
                f"{self.path}: {split} images of shape {images.shape} and labels of shape {labels.shape} do not "
                "fit: expected (n, h, w), (n, h, w, channels) or (n, channels, h, w), and (n,)"
            )
