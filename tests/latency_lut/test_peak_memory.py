"""By hand, and the fold over drawn networks against a walk over the tensors that are alive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.peak_memory import demanded_bits, live_set, peak_bytes
from bitfront.supernet.layers import Block, Layer


def _layer(in_channels: int, out_channels: int, weight: str, activation: str) -> Layer:
    return Layer("x", "pointwise", in_channels, out_channels, 1, 1, 3, weight, activation, True, "relu")


def _peak(blocks: list[Block], active: list[bool]) -> float:
    peak, demanded = 0.0, 32
    for block, one in reversed(list(zip(blocks, active, strict=True))):
        if one:
            peak = max(peak, peak_bytes(live_set(block), demanded))
            demanded = demanded_bits(block)
    return peak


WIDE = Block("wide", "stem", (_layer(8, 64, "int8", "int8"),))
INT4 = Block("int4", "head", (_layer(64, 1, "int4", "int4"),))
FP32 = Block("fp32", "head", (_layer(64, 1, "fp32", "fp32"),))
LINEAR = Block("linear", "head", (Layer("x", "linear", 64, 1, 1, 1, 1, "int4", "int4", True, "relu"),))


def test_logits_leave_as_real_numbers() -> None:
    assert _peak([Block("a", "stem", (_layer(4, 2, "int4", "int4"),))], [True]) == 4 * 9 / 2 + 2 * 9 * 4


def test_an_addend_lives_until_it_is_added() -> None:
    layers = (_layer(4, 4, "int8", "int8"), _layer(4, 4, "int8", "int4"))
    addend, halved, stored = 4 * 9, 4 * 9 / 2, 4 * 9
    assert _peak([Block("a", "mbconv", layers, residual=True)], [True]) == addend + halved + stored


def test_an_addend_that_is_being_read_counts_once() -> None:
    layers = (_layer(8, 1, "fp32", "fp32"), _layer(1, 8, "int8", "int8"))
    addend, inner, stored = 8 * 9 * 4, 9, 8 * 9
    assert _peak([Block("a", "mbconv", layers, residual=True)], [True]) == addend + inner + stored


@pytest.mark.parametrize(
    ("successor", "peak"),
    [
        (INT4, 8 * 9 + 64 * 9 / 2),  # stored in the 4 bits that the successor asks for
        (LINEAR, 8 * 9 + 64 * 9),  # stored in 8 bits, as it is pooled first
        (FP32, 64 * 9 * 4 + 9 * 4),  # stored in 8 bits, but the successor itself works on real numbers
    ],
    ids=lambda value: value.name if isinstance(value, Block) else "",
)
def test_a_successor_decides_how_an_output_is_stored(successor: Block, peak: float) -> None:
    assert _peak([WIDE, successor], [True, True]) == peak


def test_a_skipped_block_decides_nothing() -> None:
    assert _peak([WIDE, FP32, INT4], [True, False, True]) == _peak([WIDE, INT4], [True, True])


BITS = {"fp32": 32, "bf16": 16, "int8": 8, "int6": 6, "int4": 4}
FORMAT = st.sampled_from(sorted(BITS))


@st.composite
def chains(draw: Any) -> list[Block]:
    """Blocks of one to three layers that fit together, residual where their ends fit; the last may be linear."""
    blocks, channels, size = [], draw(st.integers(1, 9)), draw(st.integers(1, 6))
    for b in range(draw(st.integers(1, 4))):
        layers: list[Layer] = []
        before, side = channels, size
        for _ in range(draw(st.integers(1, 3))):
            out, stride = draw(st.sampled_from([channels, 1, 3, 8])), draw(st.sampled_from([1, 1, 2]))
            layers.append(
                Layer("x", "pointwise", channels, out, 1, stride, size, draw(FORMAT), draw(FORMAT), True, "relu")
            )
            channels, size = out, layers[-1].out_size
        residual = len(layers) > 1 and (before, side) == (channels, size) and draw(st.booleans())
        blocks.append(Block(f"block{b}", "mbconv", tuple(layers), residual))
    if draw(st.booleans()):
        linear = Layer("x", "linear", channels, 5, 1, 1, 1, draw(FORMAT), draw(FORMAT), True, "relu")
        blocks.append(Block("linear", "head", (linear,)))
    return blocks


def _stored_bits(block: Block, layer: Layer, i: int, consumer: Layer | None) -> int:
    """The bits of a layer's output; ``i`` is its place in the block."""
    formats = {layer.weight_format, layer.activation_format}
    integer = all(one.startswith("int") for one in formats)
    if consumer is None and not (block.residual and i == len(block.layers) - 1):
        return 32
    asked = consumer is not None and consumer.activation_format.startswith("int")
    pooled = consumer is not None and consumer.op == "linear" and layer.op != "linear"
    added = block.residual and i == len(block.layers) - 1
    if asked and not pooled and not added and consumer is not None:
        return BITS[consumer.activation_format]
    if integer:
        return 8
    return BITS[layer.activation_format] if len(formats) == 1 else 32


@given(chains())
def test_the_fold_is_the_largest_set_of_living_tensors(blocks: list[Block]) -> None:
    chain = [(block, i, layer) for block in blocks for i, layer in enumerate(block.layers)]
    largest = 0.0
    for position, (block, i, layer) in enumerate(chain):
        consumer = chain[position + 1][2] if position + 1 < len(chain) else None
        tensors = [
            (layer.in_channels * layer.in_size**2, BITS[layer.activation_format]),
            (layer.out_channels * layer.out_size**2, _stored_bits(block, layer, i, consumer)),
        ]
        if block.residual and i > 0:
            first = block.layers[0]
            tensors.append((first.in_channels * first.in_size**2, BITS[first.activation_format]))
        largest = max(largest, sum(elements * bits / 8 for elements, bits in tensors))
    assert _peak(blocks, [True] * len(blocks)) == largest
