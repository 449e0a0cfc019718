"""The integer program: what its instructions compute, exactly (after HAWQ-V3, Yao et al. 2021, section 3).

A program is a list of instructions over named tensors of integers. Each tensor is one image's map (channels, side,
side), values ``low`` to ``high``, in the narrowest of uint8, int8, int16 and int32 that holds them. An integer q
of a tensor with ``scale`` stands for the real number q * scale; zero is always zero, so that padding is 0. No
instruction knows of scales: they are there for the reader, and for what turns an image into codes before and
logits into real numbers after.

Where numbers change their scale, `Rescale` says how: dyadic arithmetic, a product with a whole number of up to 31
bits and a shift by up to 62,

    rescaled(x) = (x * multiplier + offset) >> shift,    x in 32 bits, all else in 64

where ``offset`` holds half of a unit, for rounding (half up), and whatever constant is to be added: a bias. The
shift is arithmetic, that is it rounds down. Results are then cut off at the output's ``low`` and ``high``: a
ReLU is a ``low`` of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODE_TYPES = ("uint8", "int8", "int16", "int32")
"""What may hold the values of a tensor, narrowest first."""


@dataclass(frozen=True, slots=True)
class IntegerTensor:
    """A map of integers: ``channels`` by ``size`` by ``size`` values from ``low`` to ``high``."""

    name: str
    channels: int
    size: int
    low: int
    high: int
    scale: float

    @property
    def values(self) -> int:
        """How many there are."""
        return self.channels * self.size**2

    @property
    def largest(self) -> int:
        """The greatest absolute value that it can hold."""
        return max(abs(self.low), abs(self.high))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The narrowest of uint8, int8, int16 and int32 that holds every value."""
        held = (np.iinfo(name) for name in CODE_TYPES)
        return next(
            (one.dtype for one in held if one.min <= self.low and self.high <= one.max), np.dtype(np.int32)
        )


@dataclass(frozen=True, slots=True)
class Rescale:
    """(x * multiplier + offset) >> shift, per channel: arrays of shape (channels,), or (1,) where all are alike.

    ``multiplier`` int32, not negative; ``shift`` uint8, 1 to 62; ``bias`` int32, in units of the output times
    2**-fraction, where ``fraction`` is 0 to the least shift. ``x * multiplier + offset`` fits in 64 bits for every
    x that can come.
    """

    multiplier: NDArray[np.int32]
    shift: NDArray[np.uint8]
    bias: NDArray[np.int32]
    fraction: int = 0

    @property
    def offset(self) -> NDArray[np.int64]:
        """The bias at the scale of the product, and half of a unit."""
        shift = self.shift.astype(np.int64)
        half: NDArray[np.int64] = np.int64(1) << (shift - 1)
        return (self.bias.astype(np.int64) << (shift - self.fraction)) + half


@dataclass(frozen=True, slots=True)
class Conv:
    """Weighted sums in 32 bits, rescaled and cut off: convolution with padding of kernel // 2 zeros.

    ``weight`` int8 (out, in / groups, k, k), codes of ``weight_bits`` bits. A linear layer is one of 1 by 1 over a
    map of one pixel. ``groups`` is 1, or the number of channels where it is depthwise.
    """

    name: str
    input: str
    output: str
    weight: NDArray[np.int8]
    weight_bits: int
    stride: int
    groups: int
    rescale: Rescale

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return int(self.weight.shape[-1])


@dataclass(frozen=True, slots=True)
class Table:
    """output = table[input - low of input]: any function of up to 256 values. ``table`` int32 (values,)."""

    name: str
    input: str
    output: str
    table: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Requantize:
    """output = cut off(rescaled(input)), element by element."""

    name: str
    input: str
    output: str
    rescale: Rescale


@dataclass(frozen=True, slots=True)
class Add:
    """output = cut off((a * multiplier_a + b * multiplier_b + offset) >> shift), in 64 bits; all are scalars."""

    name: str
    a: str
    b: str
    output: str
    multiplier_a: int
    multiplier_b: int
    offset: int
    shift: int


@dataclass(frozen=True, slots=True)
class Mean:
    """output (channels, 1, 1) = cut off(rescaled(sum over the map, in 32 bits))."""

    name: str
    input: str
    output: str
    rescale: Rescale


@dataclass(frozen=True, slots=True)
class Average:
    """Means over squares of ``stride``; the last ones of a row or column have what is left of the map.

    output = cut off(rescaled(sum of the n pixels of the square)), where what belongs to n is at place n - 1 of
    ``rescale`` (arrays of shape (stride ** 2,)).
    """

    name: str
    input: str
    output: str
    stride: int
    rescale: Rescale


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over 3 by 3 pixels, stride 2, padded by 1 with what is never the greatest. Formats stay the same."""

    name: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Product:
    """output = cut off(rescaled(map * gate)): one gate value for each channel, product in 32 bits."""

    name: str
    map: str
    gate: str
    output: str
    rescale: Rescale


Instruction = Conv | Table | Requantize | Add | Mean | Average | MaxPool | Product


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions in order; each reads tensors that are there already and makes one new one.

    ``input`` names the tensor of image codes, ``output`` that of the logits (classes, 1, 1).
    """

    tensors: tuple[IntegerTensor, ...]
    instructions: tuple[Instruction, ...]
    input: str
    output: str

    def tensor(self, name: str) -> IntegerTensor:
        """The tensor of this name."""
        return next(one for one in self.tensors if one.name == name)


def unread_after(program: Program) -> list[list[str]]:
    """For each instruction the tensors that it is the last to read; the output is never among them."""
    last = {name: step for step, one in enumerate(program.instructions) for name in inputs_of(one)}
    last.pop(program.output, None)
    found: list[list[str]] = [[] for _ in program.instructions]
    for name, step in last.items():
        found[step].append(name)
    return found


def inputs_of(instruction: Instruction) -> tuple[str, ...]:
    """Names of the tensors that an instruction reads."""
    if isinstance(instruction, Add):
        return instruction.a, instruction.b
    if isinstance(instruction, Product):
        return instruction.map, instruction.gate
    return (instruction.input,)
