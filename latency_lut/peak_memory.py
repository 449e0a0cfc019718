"""Peak memory: the largest set of activations alive at one time, at the policy's formats.

While a layer runs, its input and its output are alive, and in a residual block the addend until it is added.
A tensor takes the bits in which it is stored: those of its consumer's activation format where that quantizes
it; else 8 where an integer layer made it and 32 where a float layer did (``quantization.policy``). Weights are
not counted, they are ``size_bytes``.

The format of a block's last output is its successor's choice, and which block that is, is the depth genes'
choice. So a block is summed up by a `LiveSet`, and `LiveFold` joins those of one network from back to front.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer, is_integer_layer

_REAL_BITS = 32
_STORED_BITS = 8


class LiveSet(NamedTuple):
    """What a block adds to the question of peak memory.

    ``inner_bytes`` is its peak before its last layer; ``base_bytes`` its live set at the last layer, without
    the output whose bits the successor decides, and ``bytes_per_bit`` the size of that output (0 in a residual
    block, which adds in its own format); ``default_bits`` holds for it if the successor leaves it as it is.
    ``demanded_bits`` are those that this block asks of its predecessor, 0 where it takes what comes (a float
    or pooled input).
    """

    inner_bytes: float
    base_bytes: float
    bytes_per_bit: float
    default_bits: float
    demanded_bits: float


def live_set(block: Block) -> LiveSet:
    """The `LiveSet` of one block."""
    first, last = block.layers[0], block.layers[-1]
    addend = _input_bytes(first) if block.residual else 0.0
    inner = 0.0
    for layer, consumer in itertools.pairwise(block.layers):
        held = 0.0 if layer is first else addend
        out = _output_elements(layer) * _output_bits(layer, consumer) / 8
        inner = max(inner, _input_bytes(layer) + out + held)
    base = _input_bytes(last) + (0.0 if last is first else addend)
    per_bit, default = _output_elements(last) / 8, _default_bits(last)
    if block.residual:
        base, per_bit = base + per_bit * default, 0.0
    demanded = 0 if first.op == "linear" or not is_integer(first.activation_format) else _input_bits(first)
    return LiveSet(inner, base, per_bit, default, demanded)


class LiveFold:
    """Joins the live sets of n networks, block by block from output to input."""

    def __init__(self, n: int) -> None:
        self.peak_bytes: NDArray[np.float64] = np.zeros(n)
        # Logits leave the network as real numbers.
        self._demanded: NDArray[np.float64] = np.full(n, float(_REAL_BITS))

    def add(self, live: NDArray[np.float64], active: NDArray[np.bool_]) -> None:
        """The next block towards the input: a `LiveSet` (5, n), all 0 where ``active`` (n,) is false."""
        inner, base, per_bit, default, demanded = live
        bits = np.where(self._demanded > 0, self._demanded, default)
        np.maximum(self.peak_bytes, inner, out=self.peak_bytes)
        np.maximum(self.peak_bytes, base + per_bit * bits, out=self.peak_bytes)
        np.copyto(self._demanded, demanded, where=active)


@cache
def _bits(format_name: str) -> int:
    return FORMATS.get(format_name).storage_bits


def _input_bits(layer: Layer) -> int:
    return _bits(layer.activation_format)


def _input_bytes(layer: Layer) -> float:
    return layer.in_channels * layer.in_size**2 * _input_bits(layer) / 8


def _output_elements(layer: Layer) -> int:
    return layer.out_channels * layer.out_size**2


def _default_bits(layer: Layer) -> int:
    return _STORED_BITS if is_integer_layer(layer) else _REAL_BITS


def _output_bits(layer: Layer, consumer: Layer) -> int:
    pooled = consumer.op == "linear" and layer.op != "linear"
    if pooled or not is_integer(consumer.activation_format):
        return _default_bits(layer)
    return _input_bits(consumer)
