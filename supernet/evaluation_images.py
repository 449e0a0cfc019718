"""Images as networks take them: normalised and resized once per resolution, as far as memory allows."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset, resize

_ROWS_AT_ONCE = 1024

Rows = slice | NDArray[np.intp]


class Images:
    """The images of a data set, of any split at any resolution.

    Args:
        dataset: where they come from.
        most_bytes: resized splits that were not used for longest are forgotten beyond this; one that takes more by
            itself is never kept.
    """

    def __init__(self, dataset: Dataset, most_bytes: int) -> None:
        self._dataset = dataset
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, int], Tensor] = OrderedDict()

    def rows(self, split: str, resolution: int, rows: Rows) -> Tensor:
        """Some images of a split, float (n, channels, resolution, resolution) in channels-last."""
        images = self._dataset.split(split).images
        if split == "train" or len(images) * images.shape[1] * resolution**2 * 4 > self._most:
            return self._made(images[rows], resolution)
        return self._whole(split, resolution)[rows]

    def _whole(self, split: str, resolution: int) -> Tensor:
        key, images = (split, resolution), self._dataset.split(split).images
        if key not in self._kept:
            parts = range(0, len(images), _ROWS_AT_ONCE)
            # What is kept may also be trained with, which tensors made in inference mode can not.
            with torch.inference_mode(False), torch.no_grad():
                made = torch.cat([self._made(images[at : at + _ROWS_AT_ONCE], resolution) for at in parts])
                self._kept[key] = made.contiguous(memory_format=torch.channels_last)
        self._kept.move_to_end(key)
        while sum(kept.nbytes for kept in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _made(self, images: NDArray[np.uint8], resolution: int) -> Tensor:
        resized = resize(self._dataset.tensor(np.ascontiguousarray(images)), resolution)
        return resized.contiguous(memory_format=torch.channels_last)


def even_rows(start: int, stop: int, most: int) -> list[slice]:
    """Places from ``start`` to ``stop`` in as few parts as can be with at most ``most`` each, all about as long.

    A short rest would be slow, its batch statistics poor, and for few images torch takes other convolutions.
    """
    parts = max(1, math.ceil((stop - start) / most))
    edges = [start + round(part * (stop - start) / parts) for part in range(parts + 1)]
    return [slice(low, high) for low, high in itertools.pairwise(edges)]
