"""How accurate a few networks are while the supernet is being trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet

_CALIBRATION, _VALIDATION, _BATCH = 512, 1000, 500


class Probe:
    """Looks at the same networks on the same images after every epoch, on the device that trains.

    Args:
        supernet: its weights as they are when asked.
        dataset: a part of the training split calibrates, a part of the validation split measures.
        device: where the supernet is.
        seed: of which images.
    """

    def __init__(self, supernet: Supernet, dataset: Dataset, device: torch.device, seed: int) -> None:
        self._supernet = supernet
        rng = np.random.default_rng([seed, 0])
        self._calibration = _some(dataset, "train", _CALIBRATION, rng, device)[0]
        self._images, self._labels = _some(dataset, "validation", _VALIDATION, rng, device)

    def top1(self, genomes: Genomes) -> list[float]:
        """Accuracy of each network, batch norm calibrated: 0 to 1."""
        with torch.no_grad():
            return [self._one(genome) for genome in genomes]

    def _one(self, genome: NDArray[np.uint8]) -> float:
        blocks = self._supernet.space.blocks(genome)
        size = blocks[0].layers[0].in_size
        statistics = calibrate(self._supernet, blocks, resize(self._calibration, size))
        logits = [self._supernet(x, blocks, statistics.normalise) for x in _batches(resize(self._images, size))]
        return float((torch.cat(logits).argmax(1) == self._labels).double().mean())


def _some(
    dataset: Dataset, split: str, n: int, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    whole = dataset.split(split)
    rows = np.sort(rng.permutation(len(whole))[:n])
    images = torch.from_numpy(whole.images[rows]).to(device)
    return dataset.normalise(images), torch.from_numpy(np.asarray(whole.labels)[rows]).to(device)


def _batches(images: Tensor) -> Sequence[Tensor]:
    return torch.split(images, _BATCH)
