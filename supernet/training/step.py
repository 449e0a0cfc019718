"""One training step: several networks on one batch, and one move of the weights they share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.training.batches import Batch
from bitfront.supernet.training.hardware import uses_bf16
from bitfront.supernet.training.optimisation import new_optimizer
from bitfront.supernet.training.parallel import average_gradients, mean_of
from bitfront.supernet.training.phases import Phase
from bitfront.supernet.training.settings import TrainingSettings

_LARGEST_NORM = 5.0


class DivergedError(Exception):
    """The loss, or the gradient, is no number."""

    def __init__(self, loss: float) -> None:
        super().__init__(loss)
        self.loss = loss


class Step:
    """Runs networks forward and backward and moves the weights.

    Attributes:
        optimizer: made anew by the trainer when a phase begins.
        teacher: a frozen supernet whose largest network teaches, or None.
    """

    def __init__(self, supernet: Supernet, settings: TrainingSettings, device: torch.device) -> None:
        self._supernet, self._settings, self._device = supernet, settings, device
        self.optimizer = new_optimizer(supernet.parameters(), settings)
        self.teacher: Supernet | None = None

    def run(self, phase: Phase, genomes: Genomes, parts: Iterator[tuple[float, Batch]], rate: float) -> float:
        """The mean loss over the step's networks and images, of all processes that train together.

        Raises:
            DivergedError: it is NaN or infinite, or its gradient is; the weights have not moved. Every process
                raises it, or none.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        for weight, batch in parts:
            total += weight * self._accumulate(phase, genomes, batch, weight)
        average_gradients(self._supernet.parameters())
        norm = nn.utils.clip_grad_norm_(self._supernet.parameters(), _LARGEST_NORM)
        loss = mean_of(float(total), self._device)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            raise DivergedError(loss if not math.isfinite(loss) else float(norm))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return loss

    def _accumulate(self, phase: Phase, genomes: Genomes, batch: Batch, weight: float) -> Tensor:
        """Add the gradients of one part of the batch; its mean loss."""
        answers = self._frozen_answers(batch) if phase.frozen_teacher else None
        total = torch.zeros((), device=self._device)
        for genome in genomes:
            blocks = self._supernet.space.blocks(genome)
            images, targets = batch.at(blocks[0].layers[0].in_size)
            with torch.autocast(self._device.type, torch.bfloat16, self._bf16):
                logits = self._supernet(images, blocks).float()
            loss = torch.zeros((), device=self._device)
            if answers is None or phase.frozen_teacher:
                loss = F.cross_entropy(logits, targets, label_smoothing=self._settings.label_smoothing)
            if answers is not None:
                loss = loss + F.cross_entropy(logits, answers)
            if answers is None:
                answers = logits.detach().softmax(1)
            (loss * (weight / len(genomes))).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / len(genomes)
        return total

    @property
    def _bf16(self) -> bool:
        return uses_bf16(self._settings.precision, self._device)

    def _frozen_answers(self, batch: Batch) -> Tensor:
        assert self.teacher is not None
        largest = self.teacher.space.extremes()[1]
        blocks = self.teacher.space.blocks(largest)
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, self._bf16):
            logits: Tensor = self.teacher(batch.at(blocks[0].layers[0].in_size)[0], blocks)
        return logits.float().softmax(1)
