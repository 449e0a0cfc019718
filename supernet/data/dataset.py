"""What a data set is: images, labels and three splits that share no image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.errors import BitfrontError, UnknownNameError


class DataError(BitfrontError):
    """A data set does not hold what it must."""


@dataclass(frozen=True)
class Split:
    """``images`` uint8 (n, channels, size, size), ``labels`` int64 (n,) from 0 to classes - 1."""

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


@dataclass(frozen=True)
class Dataset:
    """A named data set; ``mean`` and ``std`` per channel are of the training split's pixel values in 0..1.

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
        """Normalised float images (n, channels, size, size) at their native size."""
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        return (torch.from_numpy(images).float() / 255 - mean) / std

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all pixels, labels, class names and the normalisation."""
        described = (self.name, self.class_names, self.train.images.shape, self.mean, self.std)
        digest = hashlib.sha256(repr(described).encode())
        for split in self._splits().values():
            digest.update(split.images.tobytes())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bilinear resize to (n, c, resolution, resolution); part of every network's pre-processing."""
    if images.shape[-1] == resolution:
        return images
    return F.interpolate(images, (resolution, resolution), mode="bilinear", align_corners=False, antialias=False)


def augment(images: Tensor, resolution: int, generator: torch.Generator) -> Tensor:
    """Random rotation, scale and shift, resampled straight to ``resolution``.

    Rotation within 12 degrees, scale within 10 %, shift within 12 % of the side; outside is the border's value.
    """
    n = len(images)
    draw = torch.rand(4, n, generator=generator) * 2 - 1
    angle, scale = draw[0] * (12 * torch.pi / 180), 1 + 0.1 * draw[1]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, 0.24 * draw[2]], 1), torch.stack([sin, cos, 0.24 * draw[3]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, images.shape[1], resolution, resolution], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
