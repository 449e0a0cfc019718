"""A stand-alone subnet: inherited weights, its own batch-norm statistics, nothing shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bitfront.supernet.calibration import Statistics
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.forward import EPSILON, LayerParams, ParamsOf, integer, run_network
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.policy import quantized_outputs, reads_as_quantized

_TENSORS = ("weight", "bias", "gain", "weight_scale", "input_scale", "output_scale")


class Subnet(nn.Module):
    """One network of a space, cut out of a supernet; computes exactly what the supernet computed for it.

    Args:
        supernet: source of weights, which are copied.
        blocks: the network.
        statistics: its recalibrated batch-norm statistics.
        params_of: where its tensors come from, if they are not just the supernet's.
    """

    def __init__(
        self,
        supernet: Supernet,
        blocks: Sequence[Block],
        statistics: Statistics,
        params_of: ParamsOf | None = None,
    ) -> None:
        super().__init__()
        params_of = params_of or supernet.params
        self.blocks = tuple(blocks)
        outputs = quantized_outputs(blocks)
        self.parts = nn.ModuleDict()
        for block in blocks:
            for layer in block.layers:
                params = params_of(layer, layer.name in outputs)
                self.parts[_key(layer)] = _Part(params, statistics.moments.get(layer.name))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, resolution, resolution)."""
        statistics = Statistics({layer.name: part.moments() for layer, part in self._pairs() if part.has_moments})
        return run_network(self.blocks, x, lambda layer, _: self._part(layer).params(), statistics.normalise)

    def fold(self) -> Folded:
        """The network with batch norm folded into weights, as NumPy arrays, in the order of its layers."""
        layers = tuple(
            _fold(layer, self._part(layer), reads_as_quantized(block, layer))
            for block in self.blocks
            for layer in block.layers
        )
        first, last = self.blocks[0].layers[0], self.blocks[-1].tail
        return Folded(self.blocks, layers, first.in_channels, first.in_size, last.out_channels)

    def weight(self, layer: Layer) -> nn.Parameter:
        """The weights of one of its layers, not quantized."""
        weight = self._part(layer).weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def _part(self, layer: Layer) -> _Part:
        part = self.parts[_key(layer)]
        assert isinstance(part, _Part)
        return part

    def _pairs(self) -> list[tuple[Layer, _Part]]:
        return [(layer, self._part(layer)) for block in self.blocks for layer in block.layers]


class _Part(nn.Module):
    """The tensors of one layer: weights and biases as parameters, scales and statistics as buffers."""

    def __init__(self, params: LayerParams, moments: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        for name in _TENSORS:
            tensor = getattr(params, name)
            copied = None if tensor is None else tensor.detach().clone()
            if name in ("weight", "bias", "gain"):
                self.register_parameter(name, None if copied is None else nn.Parameter(copied))
            else:
                self.register_buffer(name, copied)
        self.has_moments = moments is not None
        self.register_buffer("mean", moments[0].clone() if moments else None)
        self.register_buffer("variance", moments[1].clone() if moments else None)

    def params(self) -> LayerParams:
        return LayerParams(*(getattr(self, name) for name in _TENSORS))

    def moments(self) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean, self.variance
        assert isinstance(mean, Tensor)
        assert isinstance(variance, Tensor)
        return mean, variance


def _key(layer: Layer) -> str:
    return layer.name.replace(".", "/")


def _fold(layer: Layer, part: _Part, is_quantized: bool) -> FoldedLayer:
    """A layer that finds its input quantized has no format for it."""
    params = part.params()
    scale_of_input = None if is_quantized else params.input_scale
    weight, bias = params.weight.detach().double(), params.bias.detach().double()
    factor = torch.ones_like(bias)
    if params.gain is not None and part.has_moments:
        mean, variance = (m.double() for m in part.moments())
        factor = params.gain.detach().double() / torch.sqrt(variance + EPSILON)
        bias = bias - mean * factor
    numbers, scale = _fold_weight(layer, weight, params.weight_scale, factor)
    weight = numbers if scale is None else numbers * _per_channel(scale, numbers)
    return FoldedLayer(
        layer,
        weight.numpy().astype(np.float32),
        numbers.numpy().astype(np.int8) if integer(layer.weight_format) and scale is not None else None,
        None if scale is None else scale.numpy().astype(np.float32),
        bias.numpy().astype(np.float32),
        _tensor_quant(scale_of_input, integer(layer.activation_format), layer.signed_input),
        _tensor_quant(params.output_scale, INT8, not layer.relu),
    )


def _fold_weight(
    layer: Layer, weight: Tensor, weight_scale: Tensor | None, factor: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Numbers of the weight format and per-channel scales after folding; a negative factor flips numbers.

    Formats without a scale take batch norm into the weights, and are rounded as they are stored.
    """
    number_format = FORMATS.get(layer.weight_format)
    # Numbers are taken in float32, as the fake quantization takes them: doubles could round a tie otherwise.
    if isinstance(number_format, IntegerFormat) and weight_scale is not None:
        numbers = number_format.encode_weight(weight.float(), weight_scale.detach()).double()
        factor = weight_scale.detach().double().reshape(-1) * factor
    elif isinstance(number_format, FloatFormat) and number_format.has_weight_scale:
        numbers = number_format.rounded(weight.float()).double()
    else:
        return weight * _per_channel(factor, weight), None
    numbers = numbers * _per_channel(torch.where(factor < 0, -1.0, 1.0), numbers)
    # Rounded to float32 as it will be stored, so that weights are exactly numbers times scales.
    return numbers, factor.abs().float().clamp_min(torch.finfo(torch.float32).tiny).double()


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def _tensor_quant(scale: Tensor | None, number_format: IntegerFormat | None, signed: bool) -> TensorQuant | None:
    if scale is None or number_format is None:
        return None
    return TensorQuant(float(scale), number_format.zero_point(signed), number_format.storage_bits)
