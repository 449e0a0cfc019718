"""What a network computes, given its blocks and a source of parameters.

The supernet (which slices shared weights) and a stand-alone subnet (which owns its weights) both run through
here, so that an extracted subnet can not drift from what was trained and measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.fake_quant import fake_quantize, fake_quantize_weight
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.policy import quantized_outputs

EPSILON = 1e-5


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
"""Shown (layer, its input before quantization, its output)."""


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


def run_layer(layer: Layer, x: Tensor, params: LayerParams, normalise: Normalise) -> Tensor:
    """One layer on an input that is already quantized: weights, batch norm, ReLU, output quantization."""
    weight, number_format = params.weight, FORMATS.get(layer.weight_format)
    if isinstance(number_format, FloatFormat):
        weight = number_format.rounded(weight)
    elif isinstance(number_format, IntegerFormat) and params.weight_scale is not None:
        weight = fake_quantize_weight(weight, params.weight_scale, number_format.weight_limit)
    if layer.op == "linear":
        y = F.linear(x, weight, params.bias)
    else:
        y = F.conv2d(x, weight, None, layer.stride, layer.kernel // 2, 1, layer.groups)
        if params.gain is not None:
            y = normalise(layer, y, params.gain, params.bias)
    if layer.relu:
        y = F.relu(y)
    if params.output_scale is not None:
        y = fake_quantize(y, params.output_scale, INT8.zero_point(not layer.relu), INT8.activation_limit)
    return y


def run_network(
    blocks: Sequence[Block], x: Tensor, params_of: ParamsOf, normalise: Normalise, watch: Watch | None = None
) -> Tensor:
    """Logits (n, classes) of images (n, channels, size, size)."""
    outputs = quantized_outputs(blocks)
    x = x.contiguous(memory_format=torch.channels_last)
    for block in blocks:
        shortcut = x
        for layer in block.layers:
            if layer.op == "linear" and x.ndim == 4:
                x = x.mean((2, 3))
            params, real = params_of(layer, layer.name in outputs), x
            x = quantize_input(layer, x, params)
            if layer is block.layers[0]:
                shortcut = x
            x = run_layer(layer, x, params, normalise)
            if watch is not None:
                watch(layer, real, x)
        if block.residual:
            x = shortcut + x
    return x
