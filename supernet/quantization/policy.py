"""The bit-width policy of a network: which tensors are quantized, and how many bytes that takes.

The rules, shared by the supernet, stand-alone subnets and every export:

* a layer's input is quantized in its ``activation_format``, its weights in its ``weight_format``;
* a layer is an *integer layer* when both are integer formats;
* an integer layer stores its output as int8 wherever no consumer quantizes that tensor by itself: before a
  residual addition, before pooling, and before a layer whose activation format is a float one. (Runtimes
  fuse a convolution into an integer kernel only if its output is quantized.) Logits stay real numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS

_BIAS_BYTES = 4
_SCALE_BYTES = 4


def is_integer(format_name: str) -> bool:
    """Whether a number format stores integer codes."""
    return FORMATS.get(format_name).is_integer


def is_integer_layer(layer: Layer) -> bool:
    """Whether both operands of a layer are integers."""
    return is_integer(layer.weight_format) and is_integer(layer.activation_format)


def quantized_outputs(blocks: Sequence[Block]) -> frozenset[str]:
    """Names of the layers whose output is quantized to int8, by the rules above."""
    chain = [(block, layer) for block in blocks for layer in block.layers]
    names = set()
    for (block, layer), (_, consumer) in itertools.pairwise(chain):
        ends_residual = block.residual and layer is block.layers[-1]
        before_pool = consumer.op == "linear" and layer.op != "linear"
        if is_integer_layer(layer) and (
            ends_residual or before_pool or not is_integer(consumer.activation_format)
        ):
            names.add(layer.name)
    return frozenset(names)


def layer_bytes(layer: Layer) -> float:
    """Bytes of one layer's weights at its format, its biases (32 bit) and one scale per output channel."""
    weight_format = FORMATS.get(layer.weight_format)
    scales = _SCALE_BYTES * layer.out_channels if weight_format.is_integer else 0
    return layer.weights * weight_format.storage_bits / 8 + _BIAS_BYTES * layer.out_channels + scales


def size_bytes(layers: Iterable[Layer]) -> float:
    """Bytes of a network's parameters at its policy."""
    return sum(layer_bytes(layer) for layer in layers)
