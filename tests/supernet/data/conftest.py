"""A tiny data set, written in every format that is read, and a cache of its own for each test."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from bitfront.supernet.data.settings import DataSettings

Parts = dict[str | None, tuple[NDArray[np.uint8], NDArray[np.int64]]]
"""Split to images (n, h, w[, 3]) and labels (n,), ordered by label; None: there are no splits."""
Write = Callable[..., DataSettings]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BITFRONT_CACHE", str(folder))
    return folder


def encoded(image: NDArray[np.uint8], kind: str = "png") -> bytes:
    """A PNG, which keeps every pixel, or another."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def named(parts: Parts) -> list[tuple[str, bytes]]:
    """(path, PNG) of every image of an image folder, in the order of the arrays."""
    found = []
    for split, (images, labels) in parts.items():
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            found.append((f"{split + '/' if split else ''}{label}/{row:04}.png", encoded(image)))
    return found


def write_folder(folder: Path, parts: Parts) -> Path:
    for name, content in named(parts):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "images" / "README.txt").write_text("no image")
    (folder / "images" / ".hidden.png").write_bytes(b"no image")
    return folder / "images"


def write_tar(folder: Path, parts: Parts, name: str = "images.tar", top: str = "") -> Path:
    """Images backwards, as archives are in any order."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in [*reversed(named(parts)), ("README.txt", b"no image")]:
            info = tarfile.TarInfo(top + path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    packed = {".gz": gzip.compress(data), ".xz": lzma.compress(data)}.get(Path(name).suffix, data)
    (folder / name).write_bytes(packed)
    return folder / name


def write_tar_xz(folder: Path, parts: Parts) -> Path:
    return write_tar(folder, parts, "images.tar.xz", "./photos/")


def write_tar_gz(folder: Path, parts: Parts) -> Path:
    return write_tar(folder, parts, "images.tgz.gz")


def write_npz(folder: Path, parts: Parts) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for split, (images, labels) in parts.items():
        arrays |= {f"x_{split}" if split else "images": images, f"y_{split}" if split else "labels": labels}
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def write_npz_channels_first(folder: Path, parts: Parts) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for split, (images, labels) in parts.items():
        first = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        prefix = f"{split}_" if split else ""
        arrays |= {f"{prefix}images": first, f"{prefix}labels": labels[:, None].astype(np.uint8)}
    np.savez_compressed(folder / "data.npz", **arrays)
    return folder / "data.npz"


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, parts: Parts, ending: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in parts.items():
        prefix = {"test": "t10k"}.get(str(split), split)
        for what, array in (("images", images), ("labels", labels.astype(np.uint8))):
            data = idx_bytes(array)
            path = folder / f"{prefix}-{what}-idx{array.ndim}-ubyte{ending}"
            path.write_bytes(gzip.compress(data) if ending else data)
    return folder


def write_idx_gz(folder: Path, parts: Parts) -> Path:
    return write_idx(folder, parts, ".gz")


def write_parquet(folder: Path, parts: Parts) -> Path:
    """Two files for each split, images as structs, classes as numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in parts.items():
        half = len(images) // 2
        for part, rows in enumerate((slice(None, half), slice(half, None))):
            structs = [{"bytes": encoded(image), "path": None} for image in images[rows]]
            table = pa.table({"image": structs, "label": labels[rows]})
            pq.write_table(table, folder / f"{split or 'data'}-{part:05}-of-00002.parquet")
    return folder


def write_parquet_names(folder: Path, parts: Parts) -> Path:
    """A folder for each split, images as bytes, classes as names."""
    for split, (images, labels) in parts.items():
        (folder / (split or "")).mkdir(parents=True, exist_ok=True)
        table = pa.table({"img": [encoded(image) for image in images], "label": [str(x) for x in labels]})
        pq.write_table(table, folder / (split or "") / "0.parquet", row_group_size=7)
    return folder


WRITERS: dict[str, tuple[str, Callable[[Path, Parts], Path]]] = {
    "folder": ("folder", write_folder),
    "tar": ("tar", write_tar),
    "tar.xz": ("tar", write_tar_xz),
    "tar.gz": ("tar", write_tar_gz),
    "npz": ("npz", write_npz),
    "npz, channels first": ("npz", write_npz_channels_first),
    "idx": ("idx", write_idx),
    "idx.gz": ("idx", write_idx_gz),
    "parquet": ("parquet", write_parquet),
    "parquet, names": ("parquet", write_parquet_names),
}
"""What is written to (kind that reads it, function)."""


@pytest.fixture(params=WRITERS)
def form(request: pytest.FixtureRequest) -> str:
    """Every format that can be written, one after the other."""
    found: str = request.param
    return found


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write parts in a format; the settings that read them come back, with ``changes``."""

    def written(form: str, parts: Parts, folder: str = "data", **changes: Any) -> DataSettings:
        kind, writer = WRITERS[form]
        return DataSettings(kind, str(writer(tmp_path / folder, parts)), **changes)

    return written


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Pixels to the bytes of a file."""
    return encoded


@pytest.fixture
def draw() -> Callable[..., Any]:
    """Random images and labels ordered by class: ``draw(n, size, channels, seed, classes)``."""

    def drawn(
        n: int, size: int = 6, channels: int = 1, seed: int = 0, classes: int = 3
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        shape = (n, size, size) if channels == 1 else (n, size, size, channels)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return pixels, np.sort(np.arange(n) % classes).astype(np.int64)

    return drawn


@pytest.fixture
def grey(draw: Callable[..., Any]) -> Parts:
    """Three splits of grey images, 30, 9 and 12 of three classes."""
    return {"train": draw(30, seed=1), "validation": draw(9, seed=2), "test": draw(12, seed=3)}
