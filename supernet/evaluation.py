"""True accuracy of candidates: recalibrate, then count right answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import Statistics, calibrate
from bitfront.supernet.data.dataset import Dataset, Split, resize
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Measured:
    """One truly measured candidate: accuracy in 0..1 and the seconds it took."""

    top1: float
    seconds: float


class Evaluator:
    """Measures candidates with the supernet's weights, the same way for every split.

    Batch norm is recalibrated for each candidate, in its own policy, on the first ``calibration_images`` of a
    fixed shuffle of the training split; the split that is measured is never looked at before.

    Args:
        supernet: trained weights.
        dataset: its normalisation and splits.
        calibration_images: how many training images set the batch-norm statistics.
        batch_size: images per forward.
    """

    def __init__(
        self, supernet: Supernet, dataset: Dataset, calibration_images: int = 512, batch_size: int = 512
    ) -> None:
        self.supernet = supernet
        self.dataset = dataset
        self.batch_size = batch_size
        order = np.random.default_rng(0).permutation(len(dataset.train))[:calibration_images]
        self._calibration = dataset.tensor(dataset.train.images[order])
        self._resized: dict[tuple[str, int], Tensor] = {}

    def evaluate(self, genomes: Genomes, split: str = "validation", progress: Progress = silent) -> list[Measured]:
        """Measured accuracy of each genome on ``validation`` or ``test``.

        Raises:
            NumericalError: a network's answers are NaN or infinite; the message holds its genome.
        """
        results = []
        for i, genome in enumerate(genomes):
            results.append(self.evaluate_one(genome, split))
            progress(i + 1, len(genomes))
        return results

    def evaluate_one(self, genome: NDArray[np.uint8], split: str) -> Measured:
        """`evaluate` for one genome, shape (n_genes,)."""
        start = time.perf_counter()
        blocks = self.supernet.space.blocks(genome)
        predicted = self.classify(blocks, self.statistics(blocks), self.dataset.split(split), split, genome)
        right = predicted == torch.from_numpy(self.dataset.split(split).labels)
        return Measured(float(right.double().mean()), time.perf_counter() - start)

    def statistics(self, blocks: Sequence[Block]) -> Statistics:
        """Recalibrated batch-norm statistics of a network."""
        images = self._images("calibration", lambda: self._calibration, blocks[0].layers[0].in_size)
        return calibrate(self.supernet, blocks, images, self.batch_size)

    def classify(
        self, blocks: Sequence[Block], statistics: Statistics, split: Split, name: str, genome: NDArray[np.uint8]
    ) -> Tensor:
        """Predicted classes (n,) of a split."""
        images = self._images(name, lambda: self.dataset.tensor(split.images), blocks[0].layers[0].in_size)
        with torch.no_grad():
            logits = torch.cat(
                [self.supernet(b, blocks, statistics.normalise) for b in torch.split(images, self.batch_size)]
            )
        if not bool(torch.isfinite(logits).all()):
            raise NumericalError(
                f"the network of genome {genome.tolist()} answers with NaN or infinity: "
                "the supernet's weights are damaged or its training diverged; train it again with a lower rate"
            )
        return logits.argmax(1)

    def _images(self, name: str, native: Callable[[], Tensor], resolution: int) -> Tensor:
        key = (name, resolution)
        if key not in self._resized:
            self._resized[key] = resize(native(), resolution)
        return self._resized[key]
