"""What a network computes, given its blocks and a source of parameters.

The supernet (which slices shared weights) and a stand-alone subnet (which owns its weights) both run through
here, so that an extracted subnet can not drift from what was trained and measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.depthwise import depthwise_conv2d
from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.quantization.fake_quant import fake_quantize, fake_quantize_weight
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.policy import (
    quantized_outputs,
    reads_as_quantized,
)

EPSILON = 1e-5

_SMOOTH: dict[Activation, Callable[[Tensor], Tensor]] = {"hswish": F.hardswish, "hsigmoid": F.hardsigmoid}


@dataclass(frozen=True, slots=True)
class LayerParams:
    """Tensors of one layer. ``gain`` is None for a layer without batch norm; scales are None where unused."""

    weight: Tensor
    bias: Tensor
    gain: Tensor | None
    weight_scale: Tensor | None
    input_scale: Tensor | None
    output_scale: Tensor | None


ParamsOf = Callable[[Layer, bool], LayerParams]
"""(layer, whether its output is quantized) -> its tensors."""
Normalise = Callable[[Layer, Tensor, Tensor, Tensor], Tensor]
"""(layer, activations, gain, bias) -> batch-normalised activations."""

Watch = Callable[[Layer, Tensor, Tensor], None]
"""Shown (layer, its input before quantization, its output, or what goes into its smooth activation function)."""


def integer(format_name: str) -> IntegerFormat | None:
    """The integer format of this name, or None if the name is a float format's."""
    number_format = FORMATS.get(format_name)
    return number_format if isinstance(number_format, IntegerFormat) else None


def batch_normalise(layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Batch norm by the statistics of the batch itself, as in training."""
    return F.batch_norm(x, None, None, gain, bias, training=True, eps=EPSILON)


def quantize_input(layer: Layer, x: Tensor, params: LayerParams) -> Tensor:
    """Fake-quantize a layer's input in its activation format."""
    number_format = FORMATS.get(layer.activation_format)
    if isinstance(number_format, FloatFormat):
        return number_format.rounded(x)
    if not isinstance(number_format, IntegerFormat) or params.input_scale is None:
        return x
    zero_point = number_format.zero_point(layer.signed_input)
    return fake_quantize(x, params.input_scale, zero_point, number_format.activation_limit)


def ready_weight(layer: Layer, params: LayerParams) -> Tensor:
    """The layer's weights as they are multiplied: fake-quantized in its weight format."""
    number_format = FORMATS.get(layer.weight_format)
    if isinstance(number_format, FloatFormat):
        return number_format.rounded(params.weight)
    if isinstance(number_format, IntegerFormat) and params.weight_scale is not None:
        return fake_quantize_weight(params.weight, params.weight_scale, number_format.weight_limit)
    return params.weight


def _weighted(layer: Layer, x: Tensor, params: LayerParams, normalise: Normalise) -> Tensor:
    weight = ready_weight(layer, params)
    if layer.op == "linear":
        return F.linear(x, weight, params.bias)
    if params.gain is None:
        return F.conv2d(x, weight, params.bias, layer.stride, layer.kernel // 2, 1, layer.groups)
    return normalise(layer, convolved(layer, x, weight), params.gain, params.bias)


def _stored(layer: Layer, y: Tensor, output_scale: Tensor | None) -> Tensor:
    """A layer's sums as they are stored: after a ReLU, but before a smooth activation function."""
    y = F.relu(y) if layer.relu else y
    if output_scale is None:
        return y
    return fake_quantize(y, output_scale, INT8.zero_point(not layer.relu), INT8.activation_limit)


def convolved(layer: Layer, x: Tensor, weight: Tensor) -> Tensor:
    """The convolution alone, without a bias."""
    if layer.op == "depthwise":
        return depthwise_conv2d(x, weight, layer.stride)
    if x.shape[1] == 1:
        # A map of one channel is in both layouts at once, and all that follows would come out in the slower one.
        n, _, height, width = x.shape
        x = x.reshape(n, height, width, 1).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, None, layer.stride, layer.kernel // 2)


def run_network(
    blocks: Sequence[Block], x: Tensor, params_of: ParamsOf, normalise: Normalise, watch: Watch | None = None
) -> Tensor:
    """Logits (n, classes) of images (n, channels, size, size)."""
    outputs = quantized_outputs(blocks)
    x = x.contiguous(memory_format=torch.channels_last)
    for block in blocks:
        x = run_block(block, x, outputs, params_of, normalise, watch)
    return x


def run_block(
    block: Block,
    x: Tensor,
    outputs: Collection[str],
    params_of: ParamsOf,
    normalise: Normalise,
    watch: Watch | None = None,
) -> Tensor:
    """What a block makes of its input (n, channels, size, size).

    ``outputs`` are the network's `quantized_outputs`, which depend on the block that follows.
    """

    def run(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        """(Input as the layer takes it, output) of one layer."""
        params = params_of(layer, layer.name in outputs)
        taken = x if reads_as_quantized(block, layer) else quantize_input(layer, x, params)
        y = _stored(layer, _weighted(layer, taken, params, normalise), params.output_scale)
        if watch is not None:
            watch(layer, x, y)
        return taken, _SMOOTH[layer.act](y) if layer.act in _SMOOTH else y

    entry = pooled = x
    for layer in block.chain:
        if layer.source == "pooled":
            pooled, x = x, x.mean((2, 3), keepdim=True)
        elif layer.op == "linear" and x.ndim == 4:
            x = x.mean((2, 3))
        taken, x = run(layer, x)
        if layer is block.layers[0]:
            entry = taken
        if layer.gate:
            x = pooled * x
    if block.residual:
        if block.shortcut is not None:
            entry = run(block.shortcut, _averaged(entry, block.stride))[1]
        x = _activated(block.sum_act, entry + x)
    return F.max_pool2d(x, 3, 2, 1) if block.max_pool else x


def _averaged(x: Tensor, stride: int) -> Tensor:
    """Means over squares of ``stride``; those at the far edges are of fewer pixels where the size is odd."""
    return x if stride == 1 else F.avg_pool2d(x, stride, ceil_mode=True, count_include_pad=False)


def _activated(act: Activation, y: Tensor) -> Tensor:
    if act == "none":
        return y
    return F.relu(y) if act == "relu" else _SMOOTH[act](y)
