"""The integer program, interpreted by NumPy: the reference that the other forms equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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

Codes = NDArray[Any]
"""Integers of shape (n, channels, size, size)."""

# Maps of a few images stay in the cache from one instruction to the next.
_BATCH = 32


def run_numpy(program: Program, codes: Codes) -> NDArray[np.int32]:
    """Codes of the logits (n, classes) of image codes (n, channels, size, size); see `codes.image_codes`."""
    return np.concatenate(
        [_batch(program, codes[first : first + _BATCH]) for first in range(0, max(len(codes), 1), _BATCH)]
    )


def _batch(program: Program, codes: Codes) -> NDArray[np.int32]:
    at_hand = {program.input: codes}
    for instruction, unread in zip(program.instructions, unread_after(program), strict=True):
        read = [at_hand[name] for name in inputs_of(instruction)]
        at_hand[instruction.output] = _run(instruction, read, program)
        for name in unread:
            del at_hand[name]
    return at_hand[program.output][:, :, 0, 0].astype(np.int32)


def _run(instruction: Instruction, read: list[Codes], program: Program) -> Codes:
    out = program.tensor(instruction.output)
    match instruction:
        case Conv():
            return rescaled(weighted_sums(instruction, read[0], out.size), instruction.rescale, out)
        case Table():
            low = program.tensor(instruction.input).low
            return instruction.table.astype(out.dtype)[read[0].astype(np.int32) - low]
        case Requantize():
            return rescaled(read[0], instruction.rescale, out)
        case Add():
            wide = read[0].astype(np.int64) * instruction.multiplier_a
            wide += read[1].astype(np.int64) * instruction.multiplier_b + instruction.offset
            return cut_off(wide >> instruction.shift, out)
        case Mean():
            sums = read[0].sum((2, 3), dtype=np.int32, keepdims=True)
            return rescaled(sums, instruction.rescale, out)
        case Average():
            return _average(instruction, read[0], out)
        case MaxPool():
            return _max_pool(read[0], out)
        case Product():
            return rescaled(read[0].astype(np.int32) * read[1].astype(np.int32), instruction.rescale, out)


def rescaled(x: Codes, how: Rescale, out: IntegerTensor) -> Codes:
    """`Rescale` along axis 1, cut off at the output's range and in its type."""
    wide = x.astype(np.int64)
    wide *= how.multiplier.astype(np.int64)[:, None, None]
    wide += how.offset[:, None, None]
    wide >>= how.shift.astype(np.int64)[:, None, None]
    return cut_off(wide, out)


def cut_off(x: Codes, out: IntegerTensor) -> Codes:
    """Values within the output's range, in its type."""
    result: Codes = x.clip(out.low, out.high).astype(out.dtype)
    return result


def weighted_sums(conv: Conv, x: Codes, size: int) -> NDArray[np.int32]:
    """Sums (n, out, size, size) in 32 bits, tap by tap."""
    kernel, stride, weight = conv.kernel, conv.stride, conv.weight.astype(np.int32)
    edge = kernel // 2
    padded = np.pad(x.astype(np.int32), ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    sums = np.zeros((len(x), len(weight), size, size), dtype=np.int32)
    reach = (size - 1) * stride + 1
    for row in range(kernel):
        for column in range(kernel):
            seen = padded[:, :, row : row + reach : stride, column : column + reach : stride]
            if conv.groups > 1:
                sums += weight[:, 0, row, column][:, None, None] * seen
            else:
                flat = np.ascontiguousarray(seen).reshape(len(x), seen.shape[1], size * size)
                sums += np.matmul(weight[:, :, row, column], flat).reshape(sums.shape)
    return sums


def _average(instruction: Average, x: Codes, out: IntegerTensor) -> Codes:
    stride = instruction.stride
    lacking = -x.shape[2] % stride
    padded = np.pad(x.astype(np.int32), ((0, 0), (0, 0), (0, lacking), (0, lacking)))
    squares = padded.reshape(*x.shape[:2], out.size, stride, out.size, stride).sum((3, 5), dtype=np.int32)
    side = np.full(out.size, stride)
    side[-1] -= lacking
    place = side[:, None] * side - 1
    how = instruction.rescale
    wide = squares.astype(np.int64) * how.multiplier.astype(np.int64)[place] + how.offset[place]
    return cut_off(wide >> how.shift.astype(np.int64)[place], out)


def _max_pool(x: Codes, out: IntegerTensor) -> Codes:
    least = np.iinfo(x.dtype).min
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=least)
    reach = (out.size - 1) * 2 + 1
    shifted = [padded[:, :, row : row + reach : 2, col : col + reach : 2] for row in range(3) for col in range(3)]
    result: Codes = np.maximum.reduce(shifted)
    return result
