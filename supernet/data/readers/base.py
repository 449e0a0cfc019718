"""What a reader is: it hands out images of one source, one by one and as they are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Content = bytes | NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Item:
    """One image as it is stored.

    Attributes:
        where: what to call it when it is broken.
        split: ``train``, ``validation``, ``test``, or None where the source has no splits.
        label: a class's number or its name; None where it lacks. Anything else counts as broken.
        content: an encoded image, or pixels (h, w), (h, w, channels) or (channels, h, w); None where it lacks.
    """

    where: str
    split: str | None
    label: object
    content: Content


class Reader(ABC):
    """Hands out the images of the source at ``path``.

    Every method raises `DataError` where the source can not be read or does not have the layout it must.
    """

    by_name = False
    """Whether images are to be ordered by `Item.where`, as the source has them in no order of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def files(self) -> Iterator[Path]:
        """Every file that is read; whether one of them changed is seen from its size and time."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """The images, one after the other, never all at once if they are many."""

    @abstractmethod
    def fraction(self) -> float:
        """How much of the source `items` has read, from 0 to 1."""

    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes 0, 1, ..., where the source knows them."""
        return None
