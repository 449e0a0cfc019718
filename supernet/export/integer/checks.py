"""Whether a program that comes from outside is one at all: shapes, names, ranges and sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.integer.accumulators import check_sums
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
    Rescale,
    Table,
    inputs_of,
)

_SMALLEST, _LARGEST = -(2**31), 2**31 - 1
# No network comes near these; a file that says more would take hours, or all memory.
_MOST_INSTRUCTIONS = 10_000
_MOST_VALUES = 2**26
_MOST_KERNEL = 31
# Of one channel: their sums with the largest inputs then fit in 64 bits.
_MOST_WEIGHTS = 2**24
_MOST_SIDE = 1 << 14
_MOST_SHIFT = 62
_LARGEST_OFFSET = 2**62

Tensors = dict[str, IntegerTensor]


def check_program(program: Program, source: str) -> None:
    """Every reader of programs may rely on what is checked here.

    Raises:
        CorruptFileError: something does not hold; ``source`` names the file.
    """
    problem = next(_problems(program), None)
    if problem:
        raise CorruptFileError(f"{source} is no integer program: {problem}. Export it again")
    try:
        check_sums(program)
    except UnsupportedError as error:
        raise CorruptFileError(f"{source} is no integer program: {error}") from error


def _problems(program: Program) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in program.tensors}
    if len(tensors) < len(program.tensors):
        yield "two tensors have one name"
    names = [one.name for one in program.instructions]
    if len(set(names)) < len(names):
        yield "two instructions have one name"
    if len(names) > _MOST_INSTRUCTIONS:
        yield f"it has {len(names)} instructions, and {_MOST_INSTRUCTIONS} is the most"
    if not all(each.isprintable() for each in (*names, *tensors)):
        yield "a name has signs that can not be printed"
    if program.input not in tensors:
        yield f"there is no tensor of its input, {program.input!r}"
        return
    for tensor in program.tensors:
        if not _is_sound(tensor):
            yield f"tensor {tensor.name!r} has sizes, a range or a scale that can not be"
    made = {program.input}
    for one in program.instructions:
        missing = [name for name in inputs_of(one) if name not in made]
        if missing or one.output not in tensors or one.output in made:
            yield f"{one.name!r} reads what is not there yet, or writes what is there already"
            return
        made.add(one.output)
        if not _fits(one, tensors):
            yield f"{one.name!r} does not fit the shapes and ranges of its tensors"
    if made != set(tensors) or program.output not in made:
        yield "it has tensors that nothing makes"


def _is_sound(tensor: IntegerTensor) -> bool:
    has_size = 0 < tensor.channels <= _LARGEST and 0 < tensor.size <= _MOST_SIDE
    return (
        has_size
        and tensor.values <= _MOST_VALUES
        and _SMALLEST <= tensor.low <= 0 <= tensor.high <= _LARGEST
        and bool(np.isfinite(tensor.scale))
        and tensor.scale > 0
    )


def _fits(one: Instruction, tensors: Tensors) -> bool:
    out, entry = tensors[one.output], tensors[inputs_of(one)[0]]
    match one:
        case Conv():
            return _conv_fits(one, entry, out)
        case Table():
            values = one.table
            inside = bool((values >= out.low).all() and (values <= out.high).all())
            return inside and len(values) == entry.high - entry.low + 1 and _same(entry, out)
        case Add():
            sound = 1 <= one.shift <= _MOST_SHIFT and min(one.multiplier_a, one.multiplier_b) >= 0
            small = max(one.multiplier_a, one.multiplier_b) <= _LARGEST and abs(one.offset) < _LARGEST_OFFSET
            return sound and small and _same(entry, out) and _same(tensors[one.b], out)
        case Mean():
            return (out.channels, out.size) == (entry.channels, 1) and _sound(one.rescale, out.channels)
        case Average():
            sized = one.stride > 1 and out.size == -(-entry.size // one.stride)
            return sized and out.channels == entry.channels and _sound(one.rescale, one.stride**2, exactly=True)
        case MaxPool():
            sized = (out.channels, out.size) == (entry.channels, (entry.size - 1) // 2 + 1)
            return sized and (out.low, out.high) == (entry.low, entry.high)
        case Product():
            gate = tensors[one.gate]
            gated = (gate.channels, gate.size) == (out.channels, 1)
            return gated and _same(entry, out) and _sound(one.rescale, out.channels)
        case _:
            return _same(entry, out) and _sound(one.rescale, out.channels)


def _conv_fits(one: Conv, entry: IntegerTensor, out: IntegerTensor) -> bool:
    channels, inputs, height, width = one.weight.shape
    if height != width or not height % 2 or height > _MOST_KERNEL or inputs * height * width > _MOST_WEIGHTS:
        return False
    if one.stride < 1 or one.groups not in (1, entry.channels):
        return False
    limit = 2 ** (one.weight_bits - 1)
    in_range = bool((one.weight >= -limit).all() and (one.weight < limit).all())
    size = (entry.size - 1) // one.stride + 1
    depthwise = one.groups == 1 or channels == entry.channels
    shaped = (channels, inputs * one.groups, size) == (out.channels, entry.channels, out.size)
    return in_range and depthwise and shaped and _sound(one.rescale, channels)


def _same(a: IntegerTensor, b: IntegerTensor) -> bool:
    return (a.channels, a.size) == (b.channels, b.size)


def _sound(how: Rescale, places: int, exactly: bool = False) -> bool:
    counts = {len(how.multiplier), len(how.shift), len(how.bias)}
    if counts != {places} and (exactly or counts != {1}):
        return False
    shifts = how.shift.astype(np.int64)
    in_range = bool((how.multiplier >= 0).all() and (shifts >= 1).all() and (shifts <= _MOST_SHIFT).all())
    if not in_range or not 0 <= how.fraction <= int(shifts.min()):
        return False
    largest = [abs(int(b)) << (int(s) - how.fraction) for b, s in zip(how.bias, shifts, strict=True)]
    return max(largest) < _LARGEST_OFFSET
