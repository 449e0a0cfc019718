"""Where a program's tensors, and what its convolutions work with, lie in the buffer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.accumulators import SUM_LIMIT, channel_bounds
from bitfront.supernet.export.integer.c.plan import Plan, Region, planned
from bitfront.supernet.export.integer.c.weights import LANES, inputs_of, is_depthwise
from bitfront.supernet.export.integer.program import Conv, IntegerTensor, Program, Rescale
from bitfront.supernet.export.integer.program import inputs_of as read_by

# Inputs that are gathered at once stay in the first cache, and there are enough of them to unpack weights for.
_GATHERED_BYTES = 16 * 1024
_FEWEST_PIXELS = 16
_FAST_LANES_BYTES = 392
_WEIGHT_BYTES = 2
_NO_MOVE = 32
_SIXTEEN_BYTES = 320
_WIDE = 2 * LANES


class Layout:
    """Places of tensors by name, and of the scratch memory of convolutions."""

    def __init__(self, program: Program) -> None:
        self._tensors = {tensor.name: tensor for tensor in program.tensors}
        self.regions = [*_lives(program), *self._scratches(program)]
        self._plan: Plan = planned(self.regions)

    @property
    def buffer_bytes(self) -> int:
        """Of the whole buffer."""
        return self._plan.size

    def place(self, region: str) -> int:
        """First byte of a region."""
        return self._plan.places[region]

    def scratch(self, conv: Conv) -> list[int]:
        """First bytes of what a convolution works with."""
        return [self.place(_scratch_name(conv, i)) for i in range(len(self._scratch_bytes(conv)))]

    def chunk(self, conv: Conv) -> int:
        """Pixels of a dense convolution whose inputs are gathered at once."""
        pixels = self._tensors[conv.output].size ** 2
        few = max(_GATHERED_BYTES // (inputs_of(conv) * row_bytes(self._tensors[conv.input])), _FEWEST_PIXELS)
        return min(pixels, few)

    def fast(self, conv: Conv) -> int:
        """Which vector kernels compute it: none (0), those for AVX2 (1), or those for VNNI as well (2)."""
        entry = self._tensors[conv.input]
        narrow = entry.dtype == np.int8 or entry.dtype == np.uint8
        if is_depthwise(conv) and not (narrow and entry.channels >= LANES):
            return 0
        sums = channel_bounds(conv, self._tensors)
        assert sums is not None
        if entry.dtype == np.int32 or not _fits(conv.rescale, sums):
            return 0
        return 2 if narrow and _fits_moved_up(conv.rescale, sums) else 1

    def _scratches(self, program: Program) -> Iterator[Region]:
        for step, one in enumerate(program.instructions):
            if isinstance(one, Conv):
                for i, count in enumerate(self._scratch_bytes(one)):
                    yield Region(_scratch_name(one, i), step, step, count)

    def _scratch_bytes(self, conv: Conv) -> list[int]:
        entry = self._tensors[conv.input]
        if is_depthwise(conv):
            taps = -(-(conv.kernel**2) * entry.channels // 8) * 8 * _WEIGHT_BYTES
            return [taps, *self._pairs_bytes(conv, entry)] if self.fast(conv) else [taps]
        lanes = LANES if len(conv.weight) > LANES // 2 else LANES // 2
        rows, panel = self.chunk(conv) * inputs_of(conv) * row_bytes(entry), inputs_of(conv) * lanes
        return [rows, (panel + LANES) * _WEIGHT_BYTES, (panel + LANES) * _WEIGHT_BYTES]

    def _pairs_bytes(self, conv: Conv, entry: IntegerTensor) -> list[int]:
        blocks, wide = -(-entry.channels // LANES), -(-entry.channels // _WIDE)
        return [
            max(blocks * pairs_of(conv) * 2 * LANES * _WEIGHT_BYTES, wide * taps_of(conv) * _WIDE),
            blocks * max(_FAST_LANES_BYTES, _SIXTEEN_BYTES),
            entry.channels,
        ]


def pairs_of(conv: Conv) -> int:
    """Pairs of taps side by side in a kernel."""
    return conv.kernel * ((conv.kernel + 1) // 2)


def taps_of(conv: Conv) -> int:
    """Taps of a kernel, in fours."""
    return -(-(conv.kernel**2) // 4) * 4


def row_type(entry: IntegerTensor) -> str:
    """In which type convolutions multiply what they read."""
    return "int32" if entry.dtype == np.int32 else "int16"


def row_bytes(entry: IntegerTensor) -> int:
    """Bytes of that type."""
    return np.dtype(row_type(entry)).itemsize


def _fits(how: Rescale, sums: NDArray[np.int64]) -> bool:
    """Whether what is rescaled has 32 bits before it is cut off."""
    wide = sums * how.multiplier.astype(np.int64) + np.abs(how.offset)
    return bool(((wide >> how.shift.astype(np.int64)) < SUM_LIMIT).all())


def _fits_moved_up(how: Rescale, sums: NDArray[np.int64]) -> bool:
    """Whether sums have 32 bits after what they are moved up by for shifts below `_NO_MOVE`."""
    return bool((sums << np.maximum(_NO_MOVE - how.shift.astype(np.int64), 0) < SUM_LIMIT).all())


def _scratch_name(conv: Conv, number: int) -> str:
    # No tensor is called so: the names of instructions are those of no region.
    return f"{conv.output}\0{number}"


def _lives(program: Program) -> Iterator[Region]:
    """Each tensor is needed from the step that makes it to the last that reads it; the logits to the end."""
    steps = len(program.instructions)
    made = {program.input: -1} | {one.output: step for step, one in enumerate(program.instructions)}
    last = made | {name: step for step, one in enumerate(program.instructions) for name in read_by(one)}
    last[program.output] = steps
    for tensor in program.tensors:
        count = tensor.values * tensor.dtype.itemsize
        yield Region(tensor.name, made[tensor.name], last[tensor.name], count)
