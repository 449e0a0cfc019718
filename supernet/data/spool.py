"""The first half of making a data set: every image of a source decoded into one file, in the source's order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.decode import BrokenImageError, Form, Pixels, decoded
from bitfront.supernet.data.readers.base import Item, Reader
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress

_AT_ONCE = 256
_MOST_LISTED = 10


@dataclass
class Spooled:
    """What was decoded: ``shape`` (channels, size, size) of each image in ``file``, and a row of each list for it.

    ``broken`` counts what was left out; ``listed`` are the first of them, each with the reason.
    """

    file: Path
    shape: tuple[int, ...] = ()
    labels: list[int | str] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    broken: int = 0
    listed: list[str] = field(default_factory=list)

    def images(self) -> NDArray[np.uint8]:
        """All images (n, channels, size, size), as a memory map."""
        return np.memmap(self.file, dtype=np.uint8, mode="r", shape=(len(self.labels), *self.shape))


def spool(reader: Reader, settings: DataSettings, file: Path, progress: Progress) -> Spooled:
    """Decode all images of ``reader`` into ``file``; broken ones are left out.

    Raises:
        DataError: the source can not be read, has no images, has images of unlike or no square shape though no
            size is asked for, or more are broken than the settings allow.
    """
    spooled = Spooled(file)
    with file.open("wb") as out:
        for item, pixels in _decoded(reader.items(), Form(settings.size, settings.channels)):
            if isinstance(pixels, str) or not isinstance(item.label, int | str):
                spooled.broken += 1
                spooled.listed += [f"{item.where} ({pixels})"] if len(spooled.listed) < _MOST_LISTED else []
            else:
                _check_shape(spooled, item, pixels)
                out.write(pixels.data)
                spooled.labels.append(item.label)
                spooled.splits.append(item.split)
                spooled.places.append(item.where)
            seen = len(spooled.labels) + spooled.broken
            if seen % _AT_ONCE == 0:
                # How many there are is often known only at the end: then it is an estimate.
                progress(seen, max(seen + 1, round(seen / max(reader.fraction(), 1e-9))))
    seen = len(spooled.labels) + spooled.broken
    _check_broken(spooled, seen, settings)
    progress(seen, seen)
    return spooled


def _decoded(items: Iterable[Item], form: Form) -> Iterator[tuple[Item, Pixels | str]]:
    """Each item with its pixels, or with the words why there are none; decoding runs in threads."""

    def decode(item: Item) -> Pixels | str:
        if item.label is None:
            return "it has no label"
        if not isinstance(item.label, int | str):
            return f"its label {item.label!r} is neither a whole number nor a name"
        try:
            return decoded(item.content, form)
        except BrokenImageError as error:
            return str(error)

    stream = iter(items)
    with ThreadPoolExecutor() as pool:
        while some := list(itertools.islice(stream, _AT_ONCE)):
            yield from zip(some, pool.map(decode, some), strict=True)


def _check_shape(spooled: Spooled, item: Item, pixels: Pixels) -> None:
    _, height, width = pixels.shape
    if height != width:
        raise DataError(
            f"image {item.where} has {width}x{height} pixels and is not square: give data.size, and all are "
            "scaled and cut to it"
        )
    spooled.shape = spooled.shape or pixels.shape
    if pixels.shape != spooled.shape:
        what = "data.size" if pixels.shape[1:] != spooled.shape[1:] else "data.channels"
        first = spooled.places[0]
        raise DataError(
            f"images are unlike: {first} is {_words(spooled.shape)}, {item.where} {_words(pixels.shape)}: "
            f"give {what}, and all are made alike"
        )


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]} and {'grey' if shape[0] == 1 else 'colour'}"


def _check_broken(spooled: Spooled, seen: int, settings: DataSettings) -> None:
    limit = settings.max_broken
    if spooled.broken > (limit * seen if limit < 1 else limit):
        raise DataError(
            f"{spooled.broken} of {seen} images in {settings.path} are broken, more than data.max_broken = "
            f"{limit} allows, the first {spooled.listed[0]}: mend or remove them, or raise data.max_broken"
        )
    if not spooled.labels:
        raise DataError(
            f"there are no images in {settings.path} for a reader of kind {settings.kind!r}: see docs/data.md for "
            "the layouts that are read"
        )
