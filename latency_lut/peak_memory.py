"""Peak memory: the largest set of activations alive at one time, at the policy's formats.

While a layer runs, its input and its output are alive, and in a residual block the addend until it is added.
A tensor takes the bits in which it is stored: those of its consumer's activation format where that quantizes
it; else 8 where an integer layer made it, and those of a float layer's own format
(``quantization.policy``). Weights are not counted, they are ``size_bytes``.

The format of a block's last output is its successor's choice, and which block that is, is the depth genes'
choice. So a block is summed up by a `LiveSet`, which gives its peak for every demand that can follow.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer, is_integer_layer

_STORED_BITS = 8
_SINGLE_BITS = 32


class LiveSet(NamedTuple):
    """What a block adds to the question of peak memory.

    ``inner_bytes`` is its peak before its last layer; ``base_bytes`` its live set at the last layer, without
    the output whose bits the successor decides, and ``bytes_per_bit`` the size of that output (0 in a residual
    block, which adds in its own format); ``default_bits`` holds for it if the successor leaves it as it is.
    """

    inner_bytes: float
    base_bytes: float
    bytes_per_bit: float
    default_bits: float


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
    return LiveSet(inner, base, per_bit, default)


def demanded_bits(block: Block) -> int:
    """The bits in which a block wants its input stored; 0 where it takes what comes: a float or pooled input."""
    first = block.layers[0]
    return 0 if first.op == "linear" or not is_integer(first.activation_format) else _input_bits(first)


def peak_bytes(live: LiveSet, bits: int) -> float:
    """The block's peak before a successor that demands ``bits``; the caller of a network demands 32."""
    return max(live.inner_bytes, live.base_bytes + live.bytes_per_bit * (bits or live.default_bits))


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
    return _STORED_BITS if is_integer_layer(layer) else _real_bits(layer)


def _real_bits(layer: Layer) -> int:
    """A float layer stores its output in its own format; one that mixes operands computes in single precision."""
    narrow = layer.weight_format == layer.activation_format
    return _bits(layer.activation_format) if narrow else _SINGLE_BITS


def _output_bits(layer: Layer, consumer: Layer) -> int:
    pooled = consumer.op == "linear" and layer.op != "linear"
    if pooled or not is_integer(consumer.activation_format):
        return _default_bits(layer)
    return _input_bits(consumer)
