"""The phases of a training, and which choices are open in each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.settings import TrainingSettings

_RESOLUTION: Mapping[str, float] = {"resolution": 1.0}
_KERNEL = {**_RESOLUTION, "kernel": 1.0}
_DEPTH = {**_KERNEL, "depth": 1.0}
_WIDTH_KINDS = ("width", "expand")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of epochs with one kind of step.

    Attributes:
        name: for people and reports.
        epochs: 1 or more.
        learning_rate: its peak.
        open: kind of gene to the share of its choices, from the largest down, that networks are drawn from; other
            kinds of architecture genes stay at their largest choice.
        sandwich: whether a step has the largest and the smallest network too, and the largest teaches in place.
        quantized: whether formats are drawn.
        frozen_teacher: whether the largest network, as the warm-up left it, teaches.
    """

    name: str
    epochs: int
    learning_rate: float
    open: Mapping[str, float]
    sandwich: bool = False
    quantized: bool = False
    frozen_teacher: bool = False

    @property
    def elastic_width(self) -> bool:
        """Whether less than all channels are used, so that they must be sorted before."""
        return any(self.open.get(kind) for kind in _WIDTH_KINDS)

    @property
    def warmup(self) -> bool:
        """Whether the largest network is alone."""
        return not (self.sandwich or self.frozen_teacher)


def phases_of(settings: TrainingSettings) -> tuple[Phase, ...]:
    """The phases of a training in their order, those of no epochs left out."""
    return tuple(phase for phase in _all_phases(settings) if phase.epochs)


def _all_phases(settings: TrainingSettings) -> Iterator[Phase]:
    rate = settings.learning_rate
    yield Phase("warmup", settings.warmup_epochs, rate, _RESOLUTION)
    if settings.schedule == "sandwich":
        yield Phase("elastic", settings.elastic_epochs, rate, _widths(1.0), sandwich=True)
    else:
        for name, epochs, choices in _shrinking(settings):
            yield Phase(name, epochs, rate, choices, frozen_teacher=True)
    quantized_rate = settings.quantized_learning_rate
    yield Phase(
        "quantized", settings.quantized_epochs, quantized_rate, _widths(1.0), sandwich=True, quantized=True
    )


def _shrinking(settings: TrainingSettings) -> Iterator[tuple[str, int, Mapping[str, float]]]:
    yield "kernel", settings.kernel_epochs, _KERNEL
    first = settings.depth_epochs // 2
    yield "depth-1", first, {**_KERNEL, "depth": 0.5}
    yield "depth-2", settings.depth_epochs - first, _DEPTH
    first = settings.expand_epochs // 2
    yield "expand-1", first, _widths(0.5)
    yield "expand-2", settings.expand_epochs - first, _widths(1.0)


def _widths(share: float) -> Mapping[str, float]:
    return {**_DEPTH, **dict.fromkeys(_WIDTH_KINDS, share)}


def opened(space: SearchSpace, phase: Phase) -> SearchSpace:
    """The part of a space that a phase draws from; at least two choices of a kind that is open at all."""
    allowed = {}
    for gene in space.genes:
        if not gene.is_policy:
            choices = space.allowed_choices(gene.name)
            share = phase.open.get(gene.kind, 0.0)
            kept = max(2, math.ceil(share * len(choices))) if share else 1
            allowed[gene.name] = choices[-kept:]
    return space.restrict(allowed)
