"""Real numbers of a network that are not computed yet: in which codes is up to who reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer import program as of
from bitfront.supernet.export.integer.dyadic import LARGEST_BIAS, LARGEST_RATIO, common_shift, rescale
from bitfront.supernet.export.integer.program import IntegerTensor
from bitfront.supernet.export.integer.writer import Target, Writer
from bitfront.supernet.folded import FoldedLayer
from bitfront.supernet.layers import Activation
from bitfront.supernet.quantization.formats import FORMATS

_MOST_OF_A_TABLE = 256


class Pending(ABC):
    """A map of real numbers (channels, size, size)."""

    channels: int
    size: int

    @abstractmethod
    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """Write what computes it in a format."""

    @abstractmethod
    def bound(self) -> float:
        """What its absolute values never exceed."""

    def exact(self, writer: Writer, name: str) -> IntegerTensor:
        """A tensor whose codes times scale are the numbers, in 16 bits where they are not in codes already."""
        return self.into(writer, name, Target.wide(self.bound()))


@final
class Codes(Pending):
    """A function of what a tensor stands for; ``act`` is not ReLU, as that is in the codes already."""

    def __init__(self, tensor: IntegerTensor, act: Activation = "none") -> None:
        self.tensor, self.channels, self.size = tensor, tensor.channels, tensor.size
        self._act: Activation = "none" if act == "relu" else act

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """A table, or nothing where the tensor is in that format already."""
        if self._act == "none" and target == Target.of_tensor(self.tensor):
            return self.tensor
        made = writer.tensor(name, self.channels, self.size, target)
        if self.tensor.high - self.tensor.low < _MOST_OF_A_TABLE:
            rounded = np.rint(self._values() / np.float32(target.scale)).clip(target.low, target.high)
            table = of.Table(made.name, self.tensor.name, made.name, rounded.astype(np.int32))
            writer.instructions.append(table)
        else:
            ratio = np.array([self.tensor.scale / target.scale])
            writer.instructions.append(of.Requantize(made.name, self.tensor.name, made.name, rescale(ratio)))
        return made

    def exact(self, writer: Writer, name: str) -> IntegerTensor:
        """The tensor itself, where no function is left."""
        return self.tensor if self._act == "none" else super().exact(writer, name)

    def bound(self) -> float:
        """Over all codes."""
        return float(np.abs(self._values()).max())

    def _values(self) -> NDArray[np.float32]:
        codes = np.arange(self.tensor.low, self.tensor.high + 1, dtype=np.float32)
        return _activated(self._act, codes * np.float32(self.tensor.scale))


def _activated(act: Activation, x: NDArray[np.float32]) -> NDArray[np.float32]:
    if act == "none":
        return x
    gate = (x + np.float32(3)).clip(0, 6) / np.float32(6)
    return np.asarray(gate if act == "hsigmoid" else x * gate, dtype=np.float32)


@final
class Affine(Pending):
    """The weighted sums of a layer with its bias, and its ReLU if it has one."""

    def __init__(self, folded: FoldedLayer, taken: IntegerTensor) -> None:
        assert folded.weight_codes is not None
        assert folded.weight_scale is not None
        self._folded, self._taken, self._codes = folded, taken, folded.weight_codes
        self._step = folded.weight_scale.astype(np.float64) * taken.scale
        self.channels, self.size = folded.layer.out_channels, folded.layer.out_size

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """A convolution."""
        layer = self._folded.layer
        ratio, bias = self._step / target.scale, self._folded.bias.astype(np.float64) / target.scale
        if ratio.max() >= LARGEST_RATIO or np.abs(bias).max() >= LARGEST_BIAS:
            writer.misfits.append(
                f"{layer.name} has sums in steps of up to {ratio.max():.3g} and biases of up to "
                f"{np.abs(bias).max():.3g} units of its output"
            )
            ratio, bias = np.zeros_like(ratio), np.zeros_like(bias)
        low = max(target.low, 0) if layer.relu else target.low
        made = writer.tensor(name, self.channels, self.size, replace(target, low=low))
        weight = self._codes.reshape(*self._codes.shape, 1, 1) if layer.op == "linear" else self._codes
        bits = FORMATS.get(layer.weight_format).storage_bits
        how = rescale(ratio, bias)
        writer.instructions.append(
            of.Conv(layer.name, self._taken.name, made.name, weight, bits, layer.stride, layer.groups, how)
        )
        return made

    def bound(self) -> float:
        """Over all inputs."""
        sums = np.abs(self._codes.astype(np.int64)).reshape(self.channels, -1).sum(1) * self._taken.largest
        return float((sums * self._step + np.abs(self._folded.bias)).max())


@final
@dataclass(slots=True)
class Sum(Pending):
    """Two maps added; a ReLU may follow."""

    a: IntegerTensor
    b: IntegerTensor
    relu: bool

    def __post_init__(self) -> None:
        self.channels, self.size = self.a.channels, self.a.size

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """An addition, in 64 bits."""
        low = max(target.low, 0) if self.relu else target.low
        made = writer.tensor(name, self.channels, self.size, replace(target, low=low))
        a, b, shift = common_shift(self.a.scale / target.scale, self.b.scale / target.scale)
        half = 1 << (shift - 1)
        writer.instructions.append(of.Add(made.name, self.a.name, self.b.name, made.name, a, b, half, shift))
        return made

    def bound(self) -> float:
        """Of both together."""
        return self.a.largest * self.a.scale + self.b.largest * self.b.scale


@final
@dataclass(slots=True)
class Gated(Pending):
    """A map times one number for each of its channels."""

    map: IntegerTensor
    gate: IntegerTensor

    def __post_init__(self) -> None:
        self.channels, self.size = self.map.channels, self.map.size

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """A product."""
        made = writer.tensor(name, self.channels, self.size, target)
        how = rescale(np.array([self.map.scale * self.gate.scale / target.scale]))
        writer.instructions.append(of.Product(made.name, self.map.name, self.gate.name, made.name, how))
        return made

    def bound(self) -> float:
        """Of the greatest ones."""
        return self.map.largest * self.map.scale * self.gate.largest * self.gate.scale


@final
@dataclass(slots=True)
class Pooled(Pending):
    """The mean of a whole map, one pixel."""

    tensor: IntegerTensor

    def __post_init__(self) -> None:
        self.channels, self.size = self.tensor.channels, 1

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """A sum over the map, rescaled."""
        made = writer.tensor(name, self.channels, 1, target)
        how = rescale(np.array([self.tensor.scale / target.scale / self.tensor.size**2]))
        writer.instructions.append(of.Mean(made.name, self.tensor.name, made.name, how))
        return made

    def bound(self) -> float:
        """That of one pixel."""
        return self.tensor.largest * self.tensor.scale


@final
@dataclass(slots=True)
class Averaged(Pending):
    """Means over squares; those at the far edges are of fewer pixels where the size is odd."""

    tensor: IntegerTensor
    stride: int

    def __post_init__(self) -> None:
        self.channels, self.size = self.tensor.channels, -(-self.tensor.size // self.stride)

    def into(self, writer: Writer, name: str, target: Target) -> IntegerTensor:
        """Sums over squares, rescaled by how many pixels they have."""
        made = writer.tensor(name, self.channels, self.size, target)
        pixels = np.arange(1, self.stride**2 + 1)
        how = rescale(self.tensor.scale / target.scale / pixels)
        writer.instructions.append(of.Average(made.name, self.tensor.name, made.name, self.stride, how))
        return made

    def bound(self) -> float:
        """That of one pixel."""
        return self.tensor.largest * self.tensor.scale
