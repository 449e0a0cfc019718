"""A user's own data set: where it lies, in which format, and what is made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitfront.supernet.data.augment import NONE, Augmentation
from bitfront.supernet.data.dataset import DataError


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What `load_dataset` makes a data set of.

    Attributes:
        kind: a name in `READERS`: folder, tar, npz, idx or parquet.
        path: the file or folder.
        size: side of the images in pixels; others are resized on their shorter side and cut at the middle. None:
            as they are, if all are alike and square.
        channels: 1 for grey, 3 for colour; None: as they are, if all are alike.
        validation: cut from the training split where no validation split is there: below 1 a share of the training
            images, else a number of them.
        test: likewise.
        max_broken: images that may be broken and left out: below 1 a share of all, else a number.
        seed: decides what is cut, and the order of the images.
        name: of the data set, for people; it is no part of its hash.
        augmentation: recommended for training.

    Raises:
        DataError: a value is out of range.
    """

    kind: str
    path: str
    size: int | None = None
    channels: int | None = None
    validation: float = 0.1
    test: float = 0.1
    max_broken: float = 0.01
    seed: int = 0
    name: str = "data"
    augmentation: Augmentation = NONE

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise DataError(f"data.size = {self.size} is no side of an image: give a number of pixels from 1")
        if self.channels not in (None, 1, 3):
            raise DataError(
                f"data.channels = {self.channels} is neither grey nor colour: give 1 or 3, or leave it out"
            )
        for name, like in (("validation", "0.1 or 5000"), ("test", "0.1 or 5000"), ("max_broken", "0.01 or 20")):
            value = getattr(self, name)
            if not 0 <= value < math.inf or (value >= 1 and value != int(value)):
                raise DataError(
                    f"data.{name} = {value} is neither a share below 1 nor a number of images: give one, as {like}"
                )
