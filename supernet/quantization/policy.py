"""The bit-width policy of a network: which tensors are quantized, and how many bytes that takes.

The rules, shared by the supernet, stand-alone subnets and every export:

* a layer's input is quantized in its ``activation_format``, its weights in its ``weight_format``;
* a layer is an *integer layer* when both are integer formats;
* an integer layer stores its output as int8 wherever no consumer quantizes that tensor by itself: before a sum,
  before pooling (of a whole map, or of a 3x3 square), before the product with a gate, and before a layer whose
  activation format is a float one. (Runtimes fuse a convolution into an integer kernel only if its output is
  quantized.) Logits stay real numbers;
* where the activation function is smooth (h-swish, hard sigmoid), an integer layer always stores the values before
  the function as int8, for the same reason. The function, sums and products with a gate are real arithmetic;
* what a block adds to its last layer's output is its input as the first layer quantized it, or the output of its
  shortcut layer. That reads the same: the input as the first layer quantized it, averaged where the block strides.
  It quantizes that anew unless nothing was averaged and both have one activation format.
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
    """Names of the layers whose output is quantized to int8, by the rules above.

    ``blocks`` may be a part of a network; its last layer then has no consumer that would ask for it.
    """
    names = set()
    for block, follower in itertools.zip_longest(blocks, blocks[1:]):
        consumers = [*block.chain[1:], None if follower is None else follower.layers[0]]
        for layer, consumer in zip(block.chain, consumers, strict=True):
            if is_integer_layer(layer) and (_is_stored(block, layer) or _is_left_real(layer, consumer)):
                names.add(layer.name)
        if block.shortcut is not None and is_integer_layer(block.shortcut):
            names.add(block.shortcut.name)
    return frozenset(names)


def _is_stored(block: Block, layer: Layer) -> bool:
    """Whether a layer of the chain stores its output whatever reads it."""
    ends = layer is block.tail and (block.residual or block.max_pool)
    return ends or layer.gate or layer.act in ("hswish", "hsigmoid")


def _is_left_real(layer: Layer, consumer: Layer | None) -> bool:
    """Whether the consumer of a layer's output takes it as it is, or pools it first."""
    return consumer is not None and (is_pooled(layer, consumer) or not is_integer(consumer.activation_format))


def is_pooled(layer: Layer, consumer: Layer) -> bool:
    """Whether the consumer of a layer's output reads its mean over the map: always, if it is linear."""
    return consumer.source == "pooled" or (consumer.op == "linear" and layer.op != "linear")


def reads_as_quantized(block: Block, layer: Layer) -> bool:
    """Whether a layer takes its input as another one quantized it: a shortcut, at the first layer's format."""
    same = layer.activation_format == block.layers[0].activation_format
    return layer.source == "block" and block.stride == 1 and same


def layer_bytes(layer: Layer) -> float:
    """Bytes of one layer's weights at its format, biases (32 bit) and, up to 8 bits, one scale per channel."""
    weight_format = FORMATS.get(layer.weight_format)
    scales = _SCALE_BYTES * layer.out_channels if weight_format.has_weight_scale else 0
    return layer.weights * weight_format.storage_bits / 8 + _BIAS_BYTES * layer.out_channels + scales


def size_bytes(layers: Iterable[Layer]) -> float:
    """Bytes of a network's parameters at its policy."""
    return sum(layer_bytes(layer) for layer in layers)
