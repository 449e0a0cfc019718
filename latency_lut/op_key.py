"""What names a table row: a canonical, readable text of everything that shapes a block's or layer's cost.

Names are left out, so that blocks of one shape and policy share a row wherever they stand. Whether an input
is signed is left out too: it moves the zero point, not the work.

A block's key looks like ``mbconv+add:pointwise(8>24,k1,s1,16px,w=int8,a=int8,relu);depthwise(...);...``: kind,
``+add`` for a residual addition, then per layer the operator, its channels in and out, kernel, stride, side of
the input map in pixels, weight and activation format, and ``relu`` where one follows.
"""

from __future__ import annotations

import re
from typing import cast

from bitfront.supernet.layers import Block, Layer, Op
from bitfront.supernet.quantization.policy import is_integer_layer

_STORED = "int8"
_LAYER = re.compile(r"(\w+)\((\d+)>(\d+),k(\d+),s(\d+),(\d+)px,w=(\w+),a=(\w+)((?:,relu)?)\)")


def layer_key(layer: Layer) -> str:
    """The key of one layer: equal exactly for layers that cost the same on any device."""
    relu = ",relu" if layer.relu else ""
    return (
        f"{layer.op}({layer.in_channels}>{layer.out_channels},k{layer.kernel},s{layer.stride},{layer.in_size}px,"
        f"w={layer.weight_format},a={layer.activation_format}{relu})"
    )


def op_key(block: Block) -> str:
    """The key of a block: equal exactly for blocks that cost the same on any device."""
    add = "+add" if block.residual else ""
    return f"{block.kind}{add}:" + ";".join(map(layer_key, block.layers))


def border_key(channels: int, size: int, from_format: str, to_format: str) -> str:
    """The key of a border: a ``channels`` x ``size`` x ``size`` tensor that changes its format between blocks."""
    return f"border({channels}ch,{size}px,{from_format}>{to_format})"


def handed_over(block: Block) -> str:
    """The format in which a block hands its output over: int8 from an integer layer, else that layer's own."""
    last = block.layers[-1]
    return _STORED if is_integer_layer(last) else last.activation_format


def asked_for(block: Block) -> str:
    """The format in which a block takes its input."""
    return block.layers[0].activation_format


def layers_in(key: str) -> tuple[Layer, ...]:
    """The layers that an op key or layer key speaks of, in order; none where it is no such key.

    They have no names, and whether their inputs are signed is not known.
    """
    return tuple(
        Layer(
            "", cast(Op, op), int(ins), int(outs), int(kernel), int(stride), int(size),
            weight, activation, signed_input=False, relu=bool(relu),
        )
        for op, ins, outs, kernel, stride, size, weight, activation, relu in _LAYER.findall(key)
    )  # fmt: skip
