"""Networks with random weights: what a profiler runs, as time does not depend on the values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat
from bitfront.supernet.quantization.policy import quantized_outputs, reads_as_quantized

# Weights repeat after this many (it divides no layer's size), so that models are made quickly and pack well.
_PERIOD = 4099
# Activations have a variance near 1 throughout (He et al. 2015); this many deviations are in range.
_DEVIATIONS = 4.0


def random_folded(blocks: Sequence[Block], rng: np.random.Generator) -> Folded:
    """Blocks with random weights and scales. They may be a part of a network, as a profiler runs it.

    The last layer of a part stores its output as it would in front of any neighbour (see
    ``quantization.policy``).
    """
    first, last = blocks[0].layers[0], blocks[-1].tail
    stored = quantized_outputs(blocks)
    layers = tuple(
        _random_layer(layer, reads_as_quantized(block, layer), layer.name in stored, rng)
        for block in blocks
        for layer in block.layers
    )
    return Folded(tuple(blocks), layers, first.in_channels, first.in_size, last.out_channels)


def _random_layer(layer: Layer, is_quantized: bool, stores_output: bool, rng: np.random.Generator) -> FoldedLayer:
    inputs = layer.in_channels // layer.groups
    shape: tuple[int, ...] = (layer.out_channels, inputs, layer.kernel, layer.kernel)
    if layer.op == "linear":
        shape = shape[:2]
    deviation = math.sqrt(2.0 / (inputs * layer.kernel**2))
    weight, codes, scale = _random_weight(layer.weight_format, shape, deviation, rng)
    return FoldedLayer(
        layer=layer,
        weight=weight,
        weight_codes=codes,
        weight_scale=scale,
        bias=rng.normal(0.0, 0.1, layer.out_channels).astype(np.float32),
        input=None if is_quantized else _quant(layer.activation_format, layer.signed_input),
        output=_quant("int8", not layer.relu) if stores_output else None,
    )


def _random_weight(
    format_name: str, shape: tuple[int, ...], deviation: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int8] | None, NDArray[np.float32] | None]:
    number_format = FORMATS.get(format_name)
    if isinstance(number_format, IntegerFormat):
        limit = number_format.weight_limit
        codes = np.resize(rng.integers(-limit, limit, size=_PERIOD, endpoint=True, dtype=np.int8), shape)
        # Uniform codes have a deviation of about limit / sqrt(3).
        scale = _random_scale(deviation * math.sqrt(3.0) / limit, shape[0], rng)
        return codes * scale.reshape(-1, *[1] * (len(shape) - 1)), codes, scale
    if not number_format.has_weight_scale:
        few = rng.normal(0.0, deviation, _PERIOD).astype(np.float32)
        return np.resize(few, shape), None, None
    assert isinstance(number_format, FloatFormat)
    normal = torch.from_numpy(rng.normal(0.0, 1.0, _PERIOD).astype(np.float32))
    scale = _random_scale(deviation, shape[0], rng)
    numbers: NDArray[np.float32] = np.resize(number_format.rounded(normal).numpy(), shape)
    return numbers * scale.reshape(-1, *[1] * (len(shape) - 1)), None, scale


def _random_scale(mean: float, channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Channels differ a little."""
    return (mean * rng.uniform(0.7, 1.3, channels)).astype(np.float32)


def _quant(format_name: str, signed: bool) -> TensorQuant | None:
    number_format = FORMATS.get(format_name)
    if not isinstance(number_format, IntegerFormat):
        return None
    spread = (2.0 if signed else 1.0) * _DEVIATIONS
    zero_point = number_format.zero_point(signed)
    return TensorQuant(spread / number_format.activation_limit, zero_point, number_format.storage_bits)
