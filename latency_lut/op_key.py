"""What names a table row: a canonical, readable text of everything that shapes a block's or layer's cost.

Names are left out, so that blocks of one shape and policy share a row wherever they stand. Whether an input
is signed is left out too: it moves the zero point, not the work.

A block's key looks like ``mbconv+add:pointwise(8>24,k1,s1,16px,w=int8,a=int8,relu);depthwise(...);...``: kind;
``+add`` for a residual addition, ``+relu`` where a ReLU follows that, ``+pool`` for a 3x3 maximum at the end; then
per layer the operator, its channels in and out, kernel, stride, side of the input map in pixels, weight and
activation format. Flags end a layer: the activation function that follows, ``pooled`` where the input of one pixel
is a map's mean, ``shortcut`` where it is the block's input, ``gate`` where the output is multiplied into the map
that was pooled.
"""

from __future__ import annotations

import re
from typing import cast, get_args

from bitfront.supernet.layers import Activation, Block, Layer, Op, Source
from bitfront.supernet.quantization.policy import is_integer_layer

_STORED = "int8"
_LAYER = re.compile(r"(\w+)\((\d+)>(\d+),k(\d+),s(\d+),(\d+)px,w=(\w+),a=(\w+)((?:,[a-z]+)*)\)")
_POOLED, _SHORTCUT, _GATE = "pooled", "shortcut", "gate"
_SOURCES: dict[str, Source] = {_POOLED: "pooled", _SHORTCUT: "block"}
_FLAGS = {source: flag for flag, source in _SOURCES.items()}


def layer_key(layer: Layer) -> str:
    """The key of one layer: equal exactly for layers that cost the same on any device."""
    act = [] if layer.act == "none" else [layer.act]
    source = [] if layer.source == "chain" else [_FLAGS[layer.source]]
    flags = "".join(f",{flag}" for flag in (*act, *source, *([_GATE] if layer.gate else [])))
    return (
        f"{layer.op}({layer.in_channels}>{layer.out_channels},k{layer.kernel},s{layer.stride},{layer.in_size}px,"
        f"w={layer.weight_format},a={layer.activation_format}{flags})"
    )


def op_key(block: Block) -> str:
    """The key of a block: equal exactly for blocks that cost the same on any device."""
    add = "+add" if block.residual else ""
    act = f"+{block.sum_act}" if block.residual and block.sum_act != "none" else ""
    pool = "+pool" if block.max_pool else ""
    return f"{block.kind}{add}{act}{pool}:" + ";".join(map(layer_key, block.layers))


def border_key(channels: int, size: int, from_format: str, to_format: str) -> str:
    """The key of a border: a ``channels`` x ``size`` x ``size`` tensor that changes its format between blocks."""
    return f"border({channels}ch,{size}px,{from_format}>{to_format})"


def handed_over(block: Block) -> str:
    """The format in which a block hands its output over: int8 from an integer layer, else that layer's own."""
    tail = block.tail
    return _STORED if is_integer_layer(tail) else tail.activation_format


def asked_for(block: Block) -> str:
    """The format in which a block takes its input."""
    return block.layers[0].activation_format


def layers_in(key: str) -> tuple[Layer, ...]:
    """The layers that an op key or layer key speaks of, in order; none where it is no such key.

    They have no names, and whether their inputs are signed is not known.
    """
    return tuple(_layer(*found) for found in _LAYER.findall(key))


def _layer(
    op: str, ins: str, outs: str, kernel: str, stride: str, size: str, weight: str, activation: str, flags: str
) -> Layer:
    found = flags.split(",")
    act = next((flag for flag in found if flag in get_args(Activation)), "none")
    source = next((_SOURCES[flag] for flag in found if flag in _SOURCES), "chain")
    return Layer(
        "", cast(Op, op), int(ins), int(outs), int(kernel), int(stride), int(size), weight, activation,
        signed_input=False, act=cast(Activation, act), source=cast(Source, source), gate=_GATE in found,
    )  # fmt: skip
