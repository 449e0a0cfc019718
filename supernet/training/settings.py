"""How a supernet is trained: plain values, so that a recipe needs nothing but this package."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from bitfront.supernet.errors import TrainingSettingsError, UnknownNameError

Schedule = Literal["sandwich", "progressive"]
OptimizerName = Literal["adamw", "sgd"]
Precision = Literal["auto", "fp32", "bf16"]

_NAMES = {"schedule": Schedule, "optimizer": OptimizerName, "precision": Precision}
_FROM_ONE = ("batch_size", "accumulation")
_RATES = ("learning_rate", "quantized_learning_rate")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Phases, rates and batches. Rates are peak rates under a cosine; epochs are per phase.

    Attributes:
        warmup_epochs: of the largest network alone.
        elastic_epochs: of the sandwich schedule; 0 or more, as all epochs.
        quantized_epochs: of the quantized phase.
        batch_size: images in a step.
        learning_rate: of the phases in real numbers.
        quantized_learning_rate: of the quantized phase.
        weight_decay: of weights, not of biases, gains and scales.
        label_smoothing: share of a label that all classes get, 0 to below 1.
        subnets_per_step: random networks in a step.
        augment: whether images are varied as the data set recommends.
        schedule: how architectures become elastic; ``progressive`` uses the next three.
        kernel_epochs: elastic kernels.
        depth_epochs: elastic depths, half of them with the deeper half of the choices.
        expand_epochs: elastic widths, half of them with the wider half of the choices.
        optimizer: ``adamw``, or ``sgd`` with Nesterov momentum of 0.9.
        precision: ``bf16`` is autocast; ``auto`` is bf16 on a GPU, and fp32 on a CPU, where bf16 is slower for
            depthwise convolutions.
        accumulation: parts that a batch is split into, one after the other, to save memory. Batch norm sees parts.
        probes: random networks whose accuracy is looked at after an epoch, beside the largest and the smallest.

    Raises:
        UnknownNameError: a schedule, optimizer or precision is unknown.
        TrainingSettingsError: a number is out of its range.
    """

    warmup_epochs: int = 8
    elastic_epochs: int = 36
    quantized_epochs: int = 18
    batch_size: int = 64
    learning_rate: float = 4e-3
    quantized_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    subnets_per_step: int = 4
    augment: bool = True
    schedule: Schedule = "sandwich"
    kernel_epochs: int = 12
    depth_epochs: int = 12
    expand_epochs: int = 12
    optimizer: OptimizerName = "adamw"
    precision: Precision = "auto"
    accumulation: int = 1
    probes: int = 1

    def __post_init__(self) -> None:
        for name, known in _NAMES.items():
            if getattr(self, name) not in get_args(known):
                raise UnknownNameError(name, str(getattr(self, name)), get_args(known))
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                _check_range(field.name, value, self)

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        shrinking = self.kernel_epochs + self.depth_epochs + self.expand_epochs
        architectures = self.elastic_epochs if self.schedule == "sandwich" else shrinking
        return self.warmup_epochs + architectures + self.quantized_epochs


def _check_range(name: str, value: float, settings: TrainingSettings) -> None:
    lowest = 1 if name in _FROM_ONE else 0
    problem = None
    if not math.isfinite(value) or value < lowest or (name in _RATES and value == 0):
        problem = f"give a number {'above 0' if name in _RATES else f'from {lowest}'}"
    elif name == "label_smoothing" and value >= 1:
        problem = "give a number from 0 to below 1"
    elif name == "accumulation" and value > settings.batch_size:
        problem = f"a batch of {settings.batch_size} has no more parts than images"
    if problem:
        raise TrainingSettingsError(f"training.{name} = {value} is out of range: {problem}")
