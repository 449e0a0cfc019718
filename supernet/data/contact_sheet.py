"""A picture of a data set: some images of each class, as they are and as training sees them."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bitfront.supernet.data.augment import augment
from bitfront.supernet.data.dataset import Dataset

_LEAST_SIDE = 48
_MOST_CLASSES = 40


def contact_sheet(dataset: Dataset, columns: int = 8, seed: int = 0) -> bytes:
    """A PNG with a row for each class, at most 40: training images at the left, the same ones varied at the right.

    Args:
        dataset: its training split and its recommended augmentation are shown.
        columns: images of each class.
        seed: of which images, and of how they are varied.
    """
    rng = np.random.default_rng(seed)
    labels = dataset.train.labels
    rows = []
    for label in range(min(dataset.classes, _MOST_CLASSES)):
        found = np.flatnonzero(labels == label)
        rows.append(rng.choice(found, columns, replace=len(found) < columns))
    images = torch.from_numpy(np.asarray(dataset.train.images[np.concatenate(rows)]))
    size = images.shape[-1]
    varied = augment(dataset.normalise(images), size, dataset.augmentation, torch.Generator().manual_seed(seed))
    left, right = (_grid(pixels, columns) for pixels in (images.numpy(), _pixels(dataset, varied)))
    gap = np.full((left.shape[0], size // 2, left.shape[2]), 255, dtype=np.uint8)
    return _png(np.concatenate([left, gap, right], 1), -(-_LEAST_SIDE // size))


def _pixels(dataset: Dataset, images: Tensor) -> NDArray[np.uint8]:
    """Normalised images back as bytes."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (dataset.mean, dataset.std))
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images (n, channels, size, size) as one (height, width, channels)."""
    _, channels, size, _ = images.shape
    grid = images.reshape(-1, columns, channels, size, size).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(grid).reshape(-1, columns * size, channels)


def _png(pixels: NDArray[np.uint8], scale: int) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    enlarged.save(buffer, "png")
    return buffer.getvalue()
