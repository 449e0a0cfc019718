"""Training images, batch by batch, on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.data.augment import NONE, augment, mixup
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import TrainingSettingsError
from bitfront.supernet.training.settings import TrainingSettings


class Batch:
    """Some training images at every resolution that a step's networks ask for, all varied alike.

    Args:
        dataset: its normalisation and augmentation.
        images: uint8 (n, channels, size, size), on the device that trains.
        targets: (n, classes) floats.
        varied: whether to augment.
        seed: of the variation.
    """

    def __init__(self, dataset: Dataset, images: Tensor, targets: Tensor, varied: bool, seed: int) -> None:
        self._images = dataset.normalise(images)
        self._targets = targets
        self._augmentation = dataset.augmentation if varied else NONE
        self._seed = seed
        self._at: dict[int, tuple[Tensor, Tensor]] = {}

    def at(self, resolution: int) -> tuple[Tensor, Tensor]:
        """(images, targets) at a resolution. One seed: teacher and students see the same distorted images."""
        if resolution not in self._at:
            generator = torch.Generator().manual_seed(self._seed)
            images = augment(self._images, resolution, self._augmentation, generator)
            self._at[resolution] = mixup(images, self._targets, self._augmentation.mixup, generator)
        return self._at[resolution]


class BatchSource:
    """The training split in a new order each epoch.

    A batch has no statistics of a single image, so that a rest of one is left out.

    Args:
        dataset: its training split is used, and nothing else of it.
        settings: batch size, accumulation and whether images are varied.
        seed: of the order.
        device: where batches go.
        share: (rank, processes): this process takes every so many-th image of a batch.

    Raises:
        TrainingSettingsError: the batch can not be shared evenly.
    """

    def __init__(
        self, dataset: Dataset, settings: TrainingSettings, seed: int, device: torch.device, share: tuple[int, int]
    ) -> None:
        self._dataset, self._settings, self._seed = dataset, settings, seed
        self._device, self._share = device, share
        if settings.batch_size % share[1]:
            raise TrainingSettingsError(
                f"training.batch_size = {settings.batch_size} can not be shared by {share[1]} processes: "
                f"give a multiple of {share[1]}"
            )
        self._labels = torch.from_numpy(np.asarray(dataset.train.labels))

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return math.ceil(self._usable / self._settings.batch_size)

    @property
    def _usable(self) -> int:
        """Several processes leave out the few images that can not be shared evenly, too."""
        processes, size = self._share[1], self._settings.batch_size
        shared = len(self._dataset.train) // processes * processes
        return shared - processes if shared > size and shared % size == processes else shared

    def rows(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """The image numbers of each step of an epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._dataset.train))[: self._usable]
        size = self._settings.batch_size
        return (order[start : start + size] for start in range(0, len(order), size))

    def parts(self, rows: NDArray[np.int64], seed: int) -> Iterator[tuple[float, Batch]]:
        """(its weight in the step's mean, a part of the step's images), for this process."""
        rank, processes = self._share
        own = rows[rank::processes]
        parts = min(self._settings.accumulation, max(1, len(own) // 2))
        for number, part in enumerate(np.array_split(own, parts)):
            yield len(part) / len(own), self._batch(part, seed + number * processes + rank)

    def _batch(self, rows: NDArray[np.int64], seed: int) -> Batch:
        images = torch.from_numpy(self._dataset.train.images[rows])  # fancy indexing copies, out of a map too
        targets = F.one_hot(self._labels[torch.from_numpy(rows)], self._dataset.classes).float()
        images, targets = images.to(self._device), targets.to(self._device)
        return Batch(self._dataset, images, targets, self._settings.augment, seed)
