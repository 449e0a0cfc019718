"""Peak memory: the largest set of activations alive at one time, at the policy's formats.

While a layer runs, its input and its output are alive, and what a later step reads again:

* in a residual block its input, as the first layer takes it, until it is added, or until its shortcut layer, which
  runs last, has read it; meanwhile the output of the chain is kept;
* with squeeze and excitation the map that was pooled, until it is multiplied. The product is a step of its own,
  whose output is stored as the next layer takes it.

Averaging before a shortcut and the maximum over 3x3 at a block's end are steps of their own, too. Sums and
activation functions happen in place. A mean over a map is taken while the map is made: where nothing else reads
the map, only the mean lives on, as the next layer's input.

A tensor takes the bits in which it is stored: those of its consumer's activation format where that quantizes
it; else 8 where an integer layer made it, and those of a float layer's own format (``quantization.policy``). The
h-swish of an integer layer is a function of what is stored in 8 bits and counts as that, also where a float layer
reads it or a gate multiplies it. Weights are not counted, they are ``size_bytes``.

The format of a block's last output is its successor's choice, and which block that is, is the depth genes'
choice. So a block is summed up by a `LiveSet`, which gives its peak for every demand that can follow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer, is_integer_layer, is_pooled

_STORED_BITS = 8
_SINGLE_BITS = 32


class LiveSet(NamedTuple):
    """What a block adds to the question of peak memory.

    ``inner_bytes`` is its peak before its last step; ``base_bytes`` its live set at the last step, without
    the output whose bits the successor decides, and ``bytes_per_bit`` the size of that output (0 where a sum ends
    the block, which has a format of its own); ``default_bits`` holds for it if the successor leaves it as it is.
    """

    inner_bytes: float
    base_bytes: float
    bytes_per_bit: float
    default_bits: float


class _Step(NamedTuple):
    """Bytes alive beside a step's output, the elements of that output, and its bits."""

    beside: float
    elements: int
    bits: int

    @property
    def output(self) -> float:
        """Bytes of the output."""
        return self.elements * self.bits / 8

    @property
    def alive(self) -> float:
        """Bytes of everything."""
        return self.beside + self.output


_NOTHING = _Step(0.0, 0, 0)


def live_set(block: Block) -> LiveSet:
    """The `LiveSet` of one block."""
    *before, last = _steps(block)
    inner = max((step.alive for step in before), default=0.0)
    if block.residual and not block.max_pool:
        return LiveSet(inner, last.alive, 0.0, last.bits)
    return LiveSet(inner, last.beside, last.elements / 8, last.bits)


def _steps(block: Block) -> Iterator[_Step]:
    first, tail = block.layers[0], block.tail
    kept = _Step(0.0, _output_elements(tail), _default_bits(tail)).output
    yield from _chain_steps(block, _input_bytes(first) if block.residual else 0.0)
    if block.shortcut is not None:
        yield from _shortcut_steps(block.shortcut, block.stride, kept, _input_bytes(first))
    if block.max_pool:
        yield _Step(kept, tail.out_channels * block.out_size**2, _default_bits(tail))


def _chain_steps(block: Block, addend: float) -> Iterator[_Step]:
    is_gated = any(layer.gate for layer in block.chain)
    held, made, pooled = 0.0, _NOTHING, _NOTHING  # the first layer reads the addend itself
    for layer, consumer in itertools.zip_longest(block.chain, block.chain[1:]):
        pooled = made if is_gated and layer.source == "pooled" else pooled
        beside = held + pooled.output + _input_bytes(layer)
        made = _Step(beside, _output_elements(layer), _output_bits(layer, consumer))
        yield made
        held = addend
        if layer.gate:
            bits = _SINGLE_BITS if consumer is None else _input_bits(consumer)
            yield _Step(held + pooled.output + made.output, pooled.elements, bits)
            pooled = _NOTHING


def _shortcut_steps(layer: Layer, stride: int, kept: float, entry: float) -> Iterator[_Step]:
    if stride > 1:
        yield _Step(kept + entry, layer.in_channels * layer.in_size**2, _input_bits(layer))
    yield _Step(kept + _input_bytes(layer), _output_elements(layer), _default_bits(layer))


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


def _output_bits(layer: Layer, consumer: Layer | None) -> int:
    """A gate's output goes into a product, which no format is asked for; nor is one by what is not there."""
    if consumer is None or layer.gate or is_pooled(layer, consumer) or not is_integer(consumer.activation_format):
        return _default_bits(layer)
    return _input_bits(consumer)
