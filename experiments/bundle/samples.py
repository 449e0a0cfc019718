"""A few images in a bundle, with what the network answers to them: for the example, and to verify without data."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.experiments.bundle.testing import spread_rows
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.resize import resize
from bitfront.supernet.errors import CorruptFileError

FAKE_QUANT = "fake_quant"
"""The network before it became a form: what it is trained and measured as."""
NOISE = 8
"""How many images of noise stand for images, where none may go along."""
MOST_OF_SLOW = 8
"""Of how many there are answers of a form that takes minutes for the test images."""

_LOGITS = "logits."


@dataclass(frozen=True, slots=True)
class Samples:
    """``pixels`` uint8 (n, channels, size, size) as the data set has them, ``images`` float32 (n, channels, r, r)
    as the network is fed with them, ``labels`` int64 (n,), -1 for noise; ``logits`` float32 (n, classes) by form,
    of slow forms those of the first images alone.
    """

    pixels: NDArray[np.uint8]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    logits: Mapping[str, NDArray[np.float32]]


def drawn(dataset: Dataset, count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(Pixels, labels) of ``count`` test images, spread over the split; for a count of 0 some of noise."""
    if count:
        rows = spread_rows(len(dataset.test), count)
        return np.ascontiguousarray(dataset.test.images[rows]), dataset.test.labels[rows].astype(np.int64)
    shape = (NOISE, *dataset.test.images.shape[1:])
    return rng.integers(0, 256, shape, dtype=np.uint8), np.full(NOISE, -1, np.int64)


def fed(
    pixels: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...], resolution: int
) -> NDArray[np.float32]:
    """Images as the network takes them: scaled to 0..1, normalised, and then resized."""
    centre, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    images = (torch.from_numpy(pixels).float() / 255 - centre) / spread
    made: NDArray[np.float32] = resize(images, resolution).contiguous().numpy()
    return made


def samples_bytes(samples: Samples) -> bytes:
    """As NumPy's npz: ``pixels``, ``images``, ``labels`` and an array ``logits.NAME`` for each form.

    The same samples give the same bytes.
    """
    arrays: dict[str, NDArray[Any]] = {
        "pixels": samples.pixels,
        "images": samples.images,
        "labels": samples.labels,
        **{f"{_LOGITS}{name}": logits for name, logits in samples.logits.items()},
    }
    file = io.BytesIO()
    np.savez(file, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


def read_samples(data: bytes, source: str = "the given file") -> Samples:
    """What `samples_bytes` wrote.

    Raises:
        CorruptFileError: it is no such file; ``source`` names it.
    """
    try:
        arrays = _arrays(data)
        logits = {name.removeprefix(_LOGITS): arrays.pop(name) for name in [*arrays] if name.startswith(_LOGITS)}
        samples = Samples(arrays.pop("pixels"), arrays.pop("images"), arrays.pop("labels"), logits)
        problem = _problem(samples) or ("it has further tensors" if arrays else "")
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        raise CorruptFileError(f"{source} holds no samples ({problem}): export the bundle again")
    return samples


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """What is in the file, which may say that it holds far more than it does."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{entry.filename} is of another version of NumPy's format")
        shape, by_column, kind = np.lib.format.read_array_header_1_0(file)
        content = file.read()
    if by_column or kind.hasobject or int(np.prod(shape, dtype=object)) * kind.itemsize != len(content):
        raise ValueError(f"{entry.filename} does not hold what its header says")
    return np.frombuffer(content, kind).reshape(shape).copy()


def _problem(samples: Samples) -> str:
    n = len(samples.labels)
    if samples.labels.shape != (n,) or samples.labels.dtype != np.int64 or n == 0:
        return f"labels are {samples.labels.dtype} {samples.labels.shape}"
    for name, array, kind in (("pixels", samples.pixels, np.uint8), ("images", samples.images, np.float32)):
        square = array.ndim == 4 and array.shape[0] == n and array.shape[2] == array.shape[3]
        if not square or array.dtype != kind:
            return f"{name} are {array.dtype} {array.shape}"
    for name, array in samples.logits.items():
        least = n if name == FAKE_QUANT else 1
        if (
            array.ndim != 2
            or not least <= len(array) <= n
            or array.dtype != np.float32
            or not np.isfinite(array).all()
        ):
            return f"logits of {name} are {array.dtype} {array.shape}, or not finite"
    return ""
