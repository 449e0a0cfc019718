"""The layers of a network side by side, as a picture: kernel, width, weight and activation bits of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

_STEP, _GAP, _LEFT = 30.0, 10.0, 100.0
_TALLEST, _SHORTEST = 88.0, 8.0
_TOP = 34.0
_TEXTS = (
    "name", "op", "kernel", "width", "weight_bits", "activation_bits", "weight_format", "activation_format"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StripLayer:
    """A layer's column: pixels ``x`` and ``height`` of its bar, whose area grows with the width, and its texts."""

    x: float
    height: float
    name: str
    op: str
    kernel: int
    width: int
    weight_bits: int
    activation_bits: int
    weight_format: str
    activation_format: str


@dataclass(frozen=True, slots=True)
class StripBlock:
    """Where a block begins and ends, in pixels."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Strip:
    """A network as a strip of ``width`` pixels."""

    layers: tuple[StripLayer, ...]
    blocks: tuple[StripBlock, ...]
    width: float
    top: float = _TOP
    base: float = _TOP + _TALLEST


def strip_of(layers: Sequence[Mapping[str, Any]]) -> Strip:
    """Layers as `candidate_facts.layers` gives them, in the network's order."""
    widest = max((layer["width"] for layer in layers), default=1)
    columns, blocks, x = [], [], _LEFT
    for block, own in groupby(layers, key=lambda layer: str(layer["block"])):
        start = x
        for layer in own:
            columns.append(_column(layer, x, widest))
            x += _STEP
        blocks.append(StripBlock(block, start, x - 4))
        x += _GAP
    return Strip(tuple(columns), tuple(blocks), x)


def _column(layer: Mapping[str, Any], x: float, widest: int) -> StripLayer:
    # The square root, so that a bar of 8 channels is still seen beside one of 1000.
    height = max(_SHORTEST, _TALLEST * math.sqrt(layer["width"] / widest))
    return StripLayer(x, round(height, 1), *(layer[name] for name in _TEXTS))
