"""What names a table row: a canonical, readable text of everything that shapes a block's or layer's cost.

Names are left out, so that blocks of one shape and policy share a row wherever they stand. Whether an input
is signed is left out too: it moves the zero point, not the work.

A block's key looks like ``mbconv+add:pointwise(8>24,k1,s1,16px,w=int8,a=int8,relu);depthwise(...);...``: kind,
``+add`` for a residual addition, then per layer the operator, its channels in and out, kernel, stride, side of
the input map in pixels, weight and activation format, and ``relu`` where one follows.
"""

from __future__ import annotations

from bitfront.supernet.layers import Block, Layer


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
