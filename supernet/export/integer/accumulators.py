"""Proof that no sum of an integer program leaves 32 bits, nor a rescaled one 64, whatever the image.

The bounds hold for every order of adding, as they are sums of absolute values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.integer.program import (
    Add,
    Average,
    Conv,
    Instruction,
    IntegerTensor,
    Mean,
    Product,
    Program,
    Requantize,
    Rescale,
)

SUM_LIMIT = 2**31 - 1
PRODUCT_LIMIT = 2**63 - 1


def sum_bounds(program: Program) -> dict[str, int]:
    """Of each instruction that sums or multiplies, what the absolute value of its 32-bit sums never exceeds."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    found = {one.name: channel_bounds(one, tensors) for one in program.instructions}
    return {name: int(sums.max()) for name, sums in found.items() if sums is not None}


def product_bounds(program: Program) -> dict[str, int]:
    """Of each instruction that rescales, what the absolute value before the shift never exceeds."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    found = {one.name: _products(one, tensors, channel_bounds(one, tensors)) for one in program.instructions}
    return {name: product for name, product in found.items() if product}


def check_sums(program: Program) -> None:
    """Prove it.

    Raises:
        UnsupportedError: it does not hold; all layers of which it does not are named.
    """
    tensors = {tensor.name: tensor for tensor in program.tensors}
    wrong = []
    for one in program.instructions:
        sums = channel_bounds(one, tensors)
        if sums is not None and int(sums.max()) > SUM_LIMIT:
            wrong.append(f"{one.name} (sums of up to {int(sums.max()):,}, limit {SUM_LIMIT:,})")
        elif _products(one, tensors, sums) > PRODUCT_LIMIT:
            wrong.append(f"{one.name} (products of more than 63 bits)")
    if wrong:
        raise UnsupportedError(
            f"32-bit sums could overflow in {len(wrong)} layers: {', '.join(wrong)}. Choose a candidate with "
            "fewer channels or bits there, or the format onnx or torch"
        )


def channel_bounds(one: Instruction, tensors: dict[str, IntegerTensor]) -> NDArray[np.int64] | None:
    """Bounds of the 32-bit sums by channel (or one for all), None where there is no sum."""
    match one:
        case Conv():
            codes = np.abs(one.weight.astype(np.int64)).reshape(len(one.weight), -1)
            return np.asarray(codes.sum(1) * tensors[one.input].largest)
        case Mean():
            return np.array([tensors[one.input].size ** 2 * tensors[one.input].largest])
        case Average():
            return np.arange(1, one.stride**2 + 1) * tensors[one.input].largest
        case Product():
            return np.array([tensors[one.map].largest * tensors[one.gate].largest])
        case Requantize():
            return np.array([tensors[one.input].largest])
        case _:
            return None


def _products(one: Instruction, tensors: dict[str, IntegerTensor], sums: NDArray[np.int64] | None) -> int:
    """The greatest 64-bit number before the shift, in Python's unbounded integers."""
    if isinstance(one, Add):
        a, b = tensors[one.a].largest, tensors[one.b].largest
        return a * one.multiplier_a + b * one.multiplier_b + abs(one.offset)
    if sums is None:
        return 0
    how: Rescale = one.rescale  # type: ignore[union-attr]
    rows = np.broadcast_arrays(sums, how.multiplier, how.offset)
    return max(int(x) * int(m) + abs(int(offset)) for x, m, offset in zip(*rows, strict=True))
