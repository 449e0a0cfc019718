"""What a number format is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

_SCALED_BITS = 8


@dataclass(frozen=True, slots=True)
class QParams:
    """Scale and zero point: value = (code - zero_point) * scale. ``scale`` broadcasts against the values."""

    scale: Tensor
    zero_point: int = 0


class NumberFormat(ABC):
    """How a real number is stored. ``name`` is its registry name, ``storage_bits`` its size in memory."""

    name: str
    storage_bits: int

    @property
    @abstractmethod
    def is_integer(self) -> bool:
        """Whether values are stored as integer codes with a scale."""

    @property
    def has_weight_scale(self) -> bool:
        """Whether weights are stored with one scale per output channel: in all formats of up to 8 bits.

        Batch norm goes into that, as few bits can not hold its factors.
        """
        return self.storage_bits <= _SCALED_BITS

    @abstractmethod
    def encode(self, values: Tensor, qparams: QParams) -> Tensor:
        """Codes of real values: rounded to nearest even and saturated."""

    @abstractmethod
    def decode(self, codes: Tensor, qparams: QParams) -> Tensor:
        """Real values of codes."""


@final
class IntegerFormat(NumberFormat):
    """Integers of 2 to 8 bits.

    Weights are symmetric with as many codes above as below 0 (so that the sign of a whole channel can be
    flipped when batch norm is folded in); activations are unsigned, shifted by half the range where the
    real values can be negative.
    """

    def __init__(self, name: str, bits: int) -> None:
        self.name = name
        self.storage_bits = bits

    @property
    def is_integer(self) -> bool:
        """Always true."""
        return True

    @property
    def weight_limit(self) -> int:
        """Weight codes go from minus this to plus this."""
        return int(2 ** (self.storage_bits - 1)) - 1

    @property
    def activation_limit(self) -> int:
        """Activation codes go from 0 to this."""
        return int(2**self.storage_bits) - 1

    def zero_point(self, signed: bool) -> int:
        """The activation code of 0."""
        return int(2 ** (self.storage_bits - 1)) if signed else 0

    def encode(self, values: Tensor, qparams: QParams) -> Tensor:
        """Unsigned activation codes, as float values that are whole numbers."""
        return torch.clamp(torch.round(values / qparams.scale) + qparams.zero_point, 0, self.activation_limit)

    def decode(self, codes: Tensor, qparams: QParams) -> Tensor:
        """(codes - zero point) * scale."""
        return (codes - qparams.zero_point) * qparams.scale

    def encode_weight(self, values: Tensor, scale: Tensor) -> Tensor:
        """Signed symmetric weight codes, as float values that are whole numbers."""
        return torch.clamp(torch.round(values / scale), -self.weight_limit, self.weight_limit)


@final
class FloatFormat(NumberFormat):
    """Floating point of ``bits`` bits; ``dtype`` is torch's. Values are held in torch's float32 all the same."""

    def __init__(self, name: str, bits: int, dtype: torch.dtype) -> None:
        self.name = name
        self.storage_bits = bits
        self.dtype = dtype

    @property
    def is_integer(self) -> bool:
        """Always false."""
        return False

    def rounded(self, values: Tensor) -> Tensor:
        """The nearest values of the format, ties to even; gradients go straight through."""
        return values if values.dtype == self.dtype else values.to(self.dtype).to(values.dtype)

    def encode(self, values: Tensor, qparams: QParams) -> Tensor:
        """The nearest values of the format; it has no scale."""
        return self.rounded(values)

    def decode(self, codes: Tensor, qparams: QParams) -> Tensor:
        """The values themselves."""
        return codes
