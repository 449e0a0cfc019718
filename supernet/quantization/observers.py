"""Observers look at real tensors and propose a scale for an integer format."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from bitfront.supernet.quantization.formats.base import IntegerFormat

_GOLDEN = (math.sqrt(5) - 1) / 2


def evenly_spaced(values: Tensor, most: int) -> Tensor:
    """At most ``most`` of the values, shape (n,); all of them, as they are, where there are no more."""
    if len(values) <= most:
        return values
    # A constant step can divide the size of a map or kernel, and see the same few places of every one.
    spread = torch.arange(most, dtype=torch.float64) * _GOLDEN % 1
    return values[(spread * len(values)).long()]


class Observer(ABC):
    """Collects batches of one tensor; then answers with a scale per format."""

    @abstractmethod
    def observe(self, values: Tensor) -> None:
        """Take in one batch of values, any shape."""

    @abstractmethod
    def scale(self, number_format: IntegerFormat, signed: bool) -> float:
        """A positive scale for the values seen so far; 1.0 if all of them were 0."""


@final
class MinMaxObserver(Observer):
    """Covers everything that was seen."""

    def __init__(self) -> None:
        self._largest = 0.0

    def observe(self, values: Tensor) -> None:
        """Keep the largest magnitude."""
        self._largest = max(self._largest, float(values.detach().abs().max()))

    def scale(self, number_format: IntegerFormat, signed: bool) -> float:
        """Largest magnitude over the number of codes on its side."""
        top = number_format.activation_limit - number_format.zero_point(signed)
        return self._largest / top if self._largest > 0 else 1.0


@final
class MseObserver(Observer):
    """Clips so that the mean squared quantization error over the values seen is smallest.

    Every batch adds at most ``per_batch`` evenly spaced values; the clip is looked for on a grid of fractions of
    the largest magnitude (the OMSE search of Choukroun et al. 2019).
    """

    def __init__(self, per_batch: int = 4096, grid: int = 40) -> None:
        self._seen: list[Tensor] = []
        self._per_batch = per_batch
        self._grid = grid

    def observe(self, values: Tensor) -> None:
        """Keep an evenly spaced part of the values."""
        self._seen.append(evenly_spaced(values.detach().reshape(-1), self._per_batch).cpu().clone())

    def scale(self, number_format: IntegerFormat, signed: bool) -> float:
        """The scale on the grid with the least squared error."""
        values = torch.cat(self._seen)
        largest = float(values.abs().max())
        if largest == 0:
            return 1.0
        zero_point = number_format.zero_point(signed)
        fractions = torch.linspace(1 / self._grid, 1, self._grid)
        scales = (fractions * largest / (number_format.activation_limit - zero_point))[:, None]
        codes = torch.clamp(torch.round(values / scales), -zero_point, number_format.activation_limit - zero_point)
        errors = ((codes * scales - values) ** 2).mean(1)
        return float(scales[int(errors.argmin()), 0])
