"""A short training of one chosen subnet in its own policy, before it is exported."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import Statistics
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.subnet import Subnet
from bitfront.supernet.training.batches import Batch, BatchSource
from bitfront.supernet.training.settings import TrainingSettings

_WARM_UP = 0.05
_LARGEST_GRADIENT = 5.0


@dataclass(frozen=True, slots=True)
class FinetuningSettings:
    """How a subnet is fine-tuned, by AdamW under a cosine with the highest rate ``learning_rate``.

    ``augment`` says whether images are varied as the data set recommends; ``accumulation`` is the number of parts
    that a batch is split into to save memory. ``distillation`` is the share of the loss that asks for the answers
    of the supernet's largest network in real numbers, 0 to 1; the rest asks for the labels.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    distillation: float = 0.5
    augment: bool = True
    accumulation: int = 1

    @classmethod
    def like(cls, training: TrainingSettings, epochs: int) -> FinetuningSettings:
        """Images and loss as a supernet's training has them; the rate stays the low one of fine-tuning."""
        return cls(
            epochs,
            training.batch_size,
            weight_decay=training.weight_decay,
            label_smoothing=training.label_smoothing,
            augment=training.augment,
            accumulation=training.accumulation,
        )

    def batches(self) -> TrainingSettings:
        """What a `BatchSource` goes by."""
        return TrainingSettings(batch_size=self.batch_size, accumulation=self.accumulation, augment=self.augment)


@dataclass(frozen=True, slots=True)
class Finetuned:
    """The better of both networks on the validation split, and the accuracies of both there, 0..1.

    ``kept`` says whether it is the fine-tuned one; the other is the one that was given.
    """

    subnet: Subnet
    top1_before: float
    top1_after: float
    kept: bool


def finetune(
    supernet: Supernet,
    dataset: Dataset,
    genome: NDArray[np.uint8],
    settings: FinetuningSettings,
    rng: np.random.Generator,
    calibration_images: int = 512,
    progress: Progress = silent,
) -> Finetuned:
    """Train one network on, with its formats faked and its step sizes learned (LSQ, Esser et al. 2020).

    The supernet is left as it is. Batch norm goes by the batch in training, and is recalibrated before either
    accuracy is taken, as for every candidate.

    Args:
        supernet: trained weights, on the CPU, where all is done.
        dataset: its training split is trained on, with the augmentation that it recommends; its validation split
            decides.
        genome: the network, shape (n_genes,).
        settings: epochs, rates, teacher.
        rng: data order and augmentation.
        calibration_images: as for `Evaluator`.
        progress: told after each step.

    Raises:
        TrainingSettingsError: the batch size or its parts are out of range.
        NumericalError: the loss became NaN or infinite.
    """
    before = Evaluator(supernet, dataset, calibration_images)
    blocks = supernet.space.blocks(genome)
    top1_before = before.evaluate_one(genome, "validation").top1
    tuned = copy.deepcopy(supernet)
    _Tuning(tuned, blocks, _Teacher(before) if settings.distillation else None, dataset, settings, rng).run(
        progress
    )
    after = Evaluator(tuned, dataset, calibration_images)
    top1_after = after.evaluate_one(genome, "validation").top1
    better = after if top1_after >= top1_before else before
    return Finetuned(better.subnet(blocks), top1_before, top1_after, better is after)


class _Teacher:
    """The largest network in real numbers, or in the widest formats that the space has."""

    def __init__(self, evaluator: Evaluator) -> None:
        space = evaluator.supernet.space
        formats = {"weight_format": "fp32", "activation_format": "fp32"}
        self._blocks = space.blocks(space.assign(space.extremes()[1:], formats)[0])  # type: ignore[arg-type]
        self._statistics: Statistics = evaluator.statistics(self._blocks)
        self._supernet = evaluator.supernet
        self.resolution = resolution_of(self._blocks)

    def answers(self, images: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        with torch.no_grad():
            logits: Tensor = self._supernet(images, self._blocks, self._statistics.normalise)
            return logits.softmax(1)


class _Tuning:
    def __init__(
        self,
        supernet: Supernet,
        blocks: tuple[Block, ...],
        teacher: _Teacher | None,
        dataset: Dataset,
        settings: FinetuningSettings,
        rng: np.random.Generator,
    ) -> None:
        self._supernet = supernet
        self._blocks = blocks
        self._teacher = teacher
        self._settings = settings
        self._rng = rng
        parameters = list(supernet.parameters())
        seed = int(rng.integers(2**62))
        self._source = BatchSource(dataset, settings.batches(), seed, torch.device("cpu"), share=(0, 1))
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)

    def run(self, progress: Progress) -> None:
        source, epochs = self._source, self._settings.epochs
        steps, done = source.steps * epochs, 0
        for epoch in range(epochs):
            for rows in source.rows(epoch):
                self._set_rate(done / steps)
                self._step(rows)
                done += 1
                progress(done, steps)

    def _set_rate(self, passed: float) -> None:
        rise = min(1.0, passed / _WARM_UP + 0.05)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * passed))

    def _step(self, rows: NDArray[np.int64]) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        for share, batch in self._source.parts(rows, int(self._rng.integers(2**62))):
            (share * self._loss(batch)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._supernet.parameters(), _LARGEST_GRADIENT)
        self._optimizer.step()

    def _loss(self, batch: Batch) -> Tensor:
        images, targets = batch.at(resolution_of(self._blocks))
        logits = self._supernet(images, self._blocks)
        loss = F.cross_entropy(logits, targets, label_smoothing=self._settings.label_smoothing)
        if self._teacher is not None:
            wanted = self._teacher.answers(batch.at(self._teacher.resolution)[0])
            loss = torch.lerp(loss, F.cross_entropy(logits, wanted), self._settings.distillation)
        if not bool(torch.isfinite(loss.detach())):
            raise NumericalError(
                f"the loss of fine-tuning became {float(loss.detach())}: "
                f"use a learning rate below {self._settings.learning_rate}, or leave fine-tuning out"
            )
        return loss
