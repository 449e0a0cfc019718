"""Where instructions and tensors of a program are collected, and what a value is to be written as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitfront.supernet.export.integer.program import Instruction, IntegerTensor
from bitfront.supernet.folded import TensorQuant

_WIDE = 2**15 - 1
_LOGITS = 2**30
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Target:
    """A format: integers ``low`` to ``high`` of a ``scale``."""

    low: int
    high: int
    scale: float

    @classmethod
    def of(cls, quant: TensorQuant) -> Target:
        """Codes of an activation format, with zero at zero."""
        return cls(-quant.zero_point, 2**quant.bits - 1 - quant.zero_point, quant.scale)

    @classmethod
    def of_tensor(cls, tensor: IntegerTensor) -> Target:
        """The format that a tensor has."""
        return cls(tensor.low, tensor.high, tensor.scale)

    @classmethod
    def wide(cls, bound: float) -> Target:
        """16 bits for numbers of up to ``bound`` either way."""
        return cls(-_WIDE, _WIDE, max(bound, _SMALLEST) / _WIDE)

    @classmethod
    def logits(cls, bound: float) -> Target:
        """31 bits for numbers of up to ``bound`` either way."""
        return cls(-_LOGITS, _LOGITS, max(bound, _SMALLEST) / _LOGITS)


class Writer:
    """Collects a program in order. Names of tensors are made distinct.

    ``misfits``: what of the network its numbers do not hold, in words, a layer each.
    """

    def __init__(self) -> None:
        self.tensors: list[IntegerTensor] = []
        self.instructions: list[Instruction] = []
        self.misfits: list[str] = []
        self._names: set[str] = set()

    def tensor(self, name: str, channels: int, size: int, target: Target) -> IntegerTensor:
        """A new tensor of a format."""
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}.{number}"
        self._names.add(unique)
        made = IntegerTensor(unique, channels, size, target.low, target.high, target.scale)
        self.tensors.append(made)
        return made
