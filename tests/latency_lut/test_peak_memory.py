"""By hand; the fold over whole networks is held against a brute-force loop in test_cost_model."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.latency_lut.peak_memory import LiveFold, live_set
from bitfront.supernet.layers import Block, Layer


def _layer(in_channels: int, out_channels: int, weight: str, activation: str) -> Layer:
    return Layer("x", "pointwise", in_channels, out_channels, 1, 1, 3, weight, activation, True, True)


def _peak(blocks: list[Block], active: list[bool]) -> float:
    fold = LiveFold(1)
    for block, one in reversed(list(zip(blocks, active, strict=True))):
        live = np.array([live_set(block)]).T
        fold.add(live if one else np.zeros_like(live), np.array([one]))
    return float(fold.peak_bytes[0])


WIDE = Block("wide", "stem", (_layer(8, 64, "int8", "int8"),))
INT4 = Block("int4", "head", (_layer(64, 1, "int4", "int4"),))
FP32 = Block("fp32", "head", (_layer(64, 1, "fp32", "fp32"),))
LINEAR = Block("linear", "head", (Layer("x", "linear", 64, 1, 1, 1, 1, "int4", "int4", True, True),))


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
