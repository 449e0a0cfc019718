"""IDX, the format of MNIST and of the data sets made after it, gzipped or not."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.arrays import ArrayReader, Part
from bitfront.supernet.data.readers.layout import split_named

_NAME = re.compile(
    r"(?:.*[-_.])?(?P<split>train|t10k|test|val|valid|validation)[-_.](?P<what>images|labels)[-_.]idx\d[-_.]ubyte"
)
_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_CHUNK = 1 << 24


class IdxReader(ArrayReader):
    """A folder of ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and so on, with or without ``.gz``.

    ``t10k`` stands for the test split, as in MNIST.
    """

    def files(self) -> Iterator[Path]:
        """The files by split."""
        return (path for pair in self._pairs.values() for path in pair.values())

    def parts(self) -> Mapping[str | None, Part]:
        """Images and labels by split."""
        return {split: (read_idx(pair["images"]), read_idx(pair["labels"])) for split, pair in self._pairs.items()}

    @cached_property
    def _pairs(self) -> dict[str, dict[str, Path]]:
        pairs: dict[str, dict[str, Path]] = {}
        for path in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            if match := _NAME.fullmatch(path.name.removesuffix(".gz")):
                split = "test" if match["split"] == "t10k" else str(split_named(match["split"]))
                # Unzipped comes first by name, and is read faster.
                first = pairs.setdefault(split, {}).setdefault(match["what"], path)
                if first.name != path.name.removesuffix(".gz") and first != path:
                    raise DataError(
                        f"{first} and {path} are both {split} {match['what']}: keep one set in a folder"
                    )
        if not pairs or any(len(pair) < 2 for pair in pairs.values()):
            raise DataError(
                f"{self.path} is no folder of IDX files: expected train-images-idx3-ubyte and "
                "train-labels-idx1-ubyte, and t10k-... or test-... for the test split, with or without .gz"
            )
        return dict(sorted(pairs.items(), key=lambda pair: pair[0] != "train"))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes; whether it is gzipped is seen from its first bytes.

    Raises:
        DataError: it can not be read, is no IDX file of bytes, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as file:
            magic = file.read(4)
            shape = _shape(path, magic, file.read(4 * magic[3] if len(magic) == 4 else 0))
            data = _up_to(math.prod(shape) + 1, file.read)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can not be read ({error}): fetch it again") from error
    if len(data) != math.prod(shape):
        than = "more" if len(data) > math.prod(shape) else f"{len(data)}"
        raise DataError(f"{path} has {than} bytes where its header says {math.prod(shape)}: fetch it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _up_to(size: int, read: Callable[[int], bytes]) -> bytearray:
    """So many bytes, or as many as there are; memory is taken for what is there, whatever a header claims."""
    data = bytearray()
    while chunk := read(min(_CHUNK, size - len(data))):
        data += chunk
    return data


def _shape(path: Path, magic: bytes, sizes: bytes) -> tuple[int, ...]:
    if len(magic) != 4 or magic[:2] != b"\0\0" or not magic[3] or len(sizes) != 4 * magic[3]:
        raise DataError(
            f"{path} is no IDX file: it begins with {magic.hex(' ') or 'nothing'}, where two zeros, a type and "
            "the number of dimensions must stand, and then their sizes: fetch it again"
        )
    if magic[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"{path} holds values of IDX type {magic[2]}: only {_UNSIGNED_BYTE}, unsigned bytes, is read"
        )
    return struct.unpack(f">{magic[3]}I", sizes)
