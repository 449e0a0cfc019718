"""The integer program in torch: a simulation for large batches, equal to the bit to `numpy_run`.

Weighted sums are taken in floating point by torch's fast convolutions, and come out as the same integers all the
same: single precision holds every integer up to 2**24, double precision up to 2**53, and what sums stay below is
proven (`accumulators`). That takes convolutions that do nothing but add products, so that Winograd's, which NNPACK
has, and lower precision are turned off. All else is int64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.depthwise import depthwise_conv2d
from bitfront.supernet.export.integer.accumulators import sum_bounds
from bitfront.supernet.export.integer.program import (
    Add,
    Average,
    Conv,
    Instruction,
    IntegerTensor,
    MaxPool,
    Mean,
    Product,
    Program,
    Requantize,
    Rescale,
    Table,
    inputs_of,
    unread_after,
)

# Maps of a few images stay in the cache from one instruction to the next.
_BATCH = 32
_LARGEST_SINGLE = 2**24


def run_torch(program: Program, codes: NDArray[np.generic]) -> NDArray[np.int32]:
    """Codes of the logits (n, classes) of image codes (n, channels, size, size); see `codes.image_codes`."""
    bounds = sum_bounds(program)
    exactly = torch.backends.nnpack.flags(enabled=False), torch.autocast("cpu", enabled=False)
    with torch.no_grad(), exactly[0], exactly[1]:
        parts = [
            _batch(program, codes[first : first + _BATCH], bounds)
            for first in range(0, max(len(codes), 1), _BATCH)
        ]
    return np.concatenate(parts)


def _batch(program: Program, codes: NDArray[np.generic], bounds: Mapping[str, int]) -> NDArray[np.int32]:
    at_hand = {program.input: torch.from_numpy(codes.astype(np.int64))}
    for instruction, unread in zip(program.instructions, unread_after(program), strict=True):
        read = [at_hand[name] for name in inputs_of(instruction)]
        at_hand[instruction.output] = _run(instruction, read, program, bounds)
        for name in unread:
            del at_hand[name]
    return at_hand[program.output][:, :, 0, 0].numpy().astype(np.int32)


def _run(instruction: Instruction, read: list[Tensor], program: Program, bounds: Mapping[str, int]) -> Tensor:
    out = program.tensor(instruction.output)
    match instruction:
        case Conv():
            is_single = bounds[instruction.name] <= _LARGEST_SINGLE
            sums = _weighted_sums(instruction, read[0], torch.float32 if is_single else torch.float64)
            return _rescaled(sums, instruction.rescale, out)
        case Table():
            table = torch.from_numpy(instruction.table.astype(np.int64))
            return table[read[0] - program.tensor(instruction.input).low]
        case Requantize():
            return _rescaled(read[0], instruction.rescale, out)
        case Add():
            wide = read[0] * instruction.multiplier_a + read[1] * instruction.multiplier_b + instruction.offset
            return (wide >> instruction.shift).clamp(out.low, out.high)
        case Mean():
            return _rescaled(read[0].sum((2, 3), keepdim=True), instruction.rescale, out)
        case Average():
            return _average(instruction, read[0], out)
        case MaxPool():
            return F.max_pool2d(read[0].double(), 3, 2, 1).long()
        case Product():
            return _rescaled(read[0] * read[1], instruction.rescale, out)


def _rescaled(x: Tensor, how: Rescale, out: IntegerTensor) -> Tensor:
    multiplier, offset, shift = (values[:, None, None] for values in _tensors(how))
    return ((x * multiplier + offset) >> shift).clamp(out.low, out.high)


def _tensors(how: Rescale) -> list[Tensor]:
    return [torch.from_numpy(values.astype(np.int64)) for values in (how.multiplier, how.offset, how.shift)]


def _weighted_sums(conv: Conv, x: Tensor, dtype: torch.dtype) -> Tensor:
    weight = torch.from_numpy(conv.weight).to(dtype)
    if conv.groups > 1:
        return depthwise_conv2d(x.to(dtype), weight, conv.stride).long()
    return F.conv2d(x.to(dtype), weight, None, conv.stride, conv.kernel // 2).long()


def _average(instruction: Average, x: Tensor, out: IntegerTensor) -> Tensor:
    stride = instruction.stride
    pixels = F.avg_pool2d(torch.ones_like(x[:1, :1]).double(), stride, ceil_mode=True, divisor_override=1)
    sums = F.avg_pool2d(x.double(), stride, ceil_mode=True, divisor_override=1).long()
    place = pixels.long() - 1
    multiplier, offset, shift = (values[place] for values in _tensors(instruction.rescale))
    return ((sums * multiplier + offset) >> shift).clamp(out.low, out.high)
