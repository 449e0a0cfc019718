"""What a data set is: images, labels and three splits that share no image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.data.augment import NONE, Augmentation
from bitfront.supernet.data.resize import resize
from bitfront.supernet.errors import BitfrontError, UnknownNameError

__all__ = ["DataError", "Dataset", "Split", "resize"]

_ROWS_AT_ONCE = 1024


class DataError(BitfrontError):
    """A data set does not hold what it must."""


@dataclass(frozen=True)
class Split:
    """``images`` uint8 (n, channels, size, size), ``labels`` int64 (n,) from 0 to classes - 1.

    Either may be a memory map.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1] or len(self.images) == 0:
            raise DataError(
                f"images of shape {self.images.shape} and labels of shape {self.labels.shape} do not fit: "
                "expected (n, channels, size, size) and (n,) with n > 0"
            )
        if self.images.shape[2] != self.images.shape[3]:
            raise DataError(f"images of shape {self.images.shape} are not square: crop or pad them")
        if self.images.dtype != np.uint8 or self.labels.dtype != np.int64:
            raise DataError(
                f"images are {self.images.dtype} and labels are {self.labels.dtype}: "
                "convert pixels to uint8 (0 to 255) and labels to int64"
            )

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def known(cls, images: NDArray[np.uint8], labels: NDArray[np.int64], digest: str) -> Split:
        """A split whose ``digest`` was worked out before, so that it is not read for that at every start."""
        split = cls(images, labels)
        split.__dict__["digest"] = digest  # where cached_property looks; a replaced split works out its own
        return split

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pixels and labels."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for first in range(0, len(self), _ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(self.images[first : first + _ROWS_AT_ONCE]).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A named data set; ``mean`` and ``std`` per channel are of the training split's pixel values in 0..1.

    ``augmentation`` is what is recommended for training on it, ``notes`` what its user should be told; neither is
    part of the content.

    Raises:
        DataError: images of unlike shapes, a label that is no class, or a normalisation that does not fit.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = NONE
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.train.images.shape[1:]
        for name, split in self._splits().items():
            if split.images.shape[1:] != shape:
                raise DataError(
                    f"{name} images are {split.images.shape[1:]}, training images {shape}: make them alike"
                )
            self._check_labels(name, split.labels)
        if {len(self.mean), len(self.std)} != {self.channels} or not min(self.std) > 0:
            raise DataError(
                f"mean {self.mean} and std {self.std} must give one value for each of {self.channels} channels, "
                "and every std must be greater than 0: take them from the training pixels"
            )

    def _check_labels(self, name: str, labels: NDArray[np.int64]) -> None:
        outside = (labels < 0) | (labels >= self.classes)
        if outside.any():
            row = int(np.argmax(outside))
            raise DataError(
                f"label {labels[row]} of {name} image {row} is none of the {self.classes} classes: "
                f"labels go from 0 to {self.classes - 1}"
            )

    def _splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Image channels."""
        return int(self.train.images.shape[1])

    def split(self, name: str) -> Split:
        """The split called ``train``, ``validation`` or ``test``.

        Raises:
            UnknownNameError: there is no such split.
        """
        splits = self._splits()
        if name not in splits:
            raise UnknownNameError(f"split of data set {self.name!r}", name, splits)
        return splits[name]

    def tensor(self, images: NDArray[np.uint8]) -> Tensor:
        """`normalise` of an array, in main memory: four bytes a value, so give a batch where they are many."""
        return self.normalise(torch.from_numpy(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Float images (n, channels, size, size) of uint8 ones on any device, in the same memory format."""
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        return (images.float() / 255 - mean) / std

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all pixels, labels, class names and the normalisation; names and places do not matter."""
        described = (self.class_names, self.mean, self.std, *(split.digest for split in self._splits().values()))
        return hashlib.sha256(repr(described).encode()).hexdigest()
