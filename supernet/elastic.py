"""Layers whose kernel, width and number formats are chosen per forward."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bitfront.supernet.forward import LayerParams, integer
from bitfront.supernet.layers import Layer

_KERNEL_STEP = 2


class ElasticLayer(nn.Module):
    """The shared weights of one layer at its largest shape.

    * Elastic width: the first channels are used (they are sorted by importance before width becomes elastic).
    * Elastic kernel: the centre of the next larger kernel, through a learned square matrix that all channels
      share (Once-for-All, Cai et al. 2020, section 3.3), chained from the largest kernel down.
    * Elastic formats: for every integer format one learned step size for the input and one for the weights.
      The weight scale of a channel is the learned ratio times the channel's largest magnitude over the largest
      code, so that it follows kernel and width; step sizes are kept as logarithms, so that they stay positive.

    Args:
        largest: the layer at its largest shape; its formats do not matter.
        kernels: kernel sizes that can be asked for.
        formats: number formats that can be asked for, weights and activations alike.
    """

    def __init__(self, largest: Layer, kernels: tuple[int, ...], formats: tuple[str, ...]) -> None:
        super().__init__()
        self.largest = largest
        out, per_group, k = largest.out_channels, largest.in_channels // largest.groups, largest.kernel
        shape = (out, per_group) if largest.op == "linear" else (out, per_group, k, k)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(out))
        self.gain = nn.Parameter(torch.ones(out)) if largest.has_batch_norm else None
        self.kernels = tuple(sorted(kernels, reverse=True))
        self.transforms = nn.ParameterDict({str(k): nn.Parameter(torch.eye(k * k)) for k in self.kernels[1:]})
        integers = [name for name in formats if integer(name) is not None]
        self.input_log_scale = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in integers})
        self.weight_log_ratio = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in integers})
        self.output_log_scale = nn.Parameter(torch.zeros(()))

    def reset(self, generator: torch.Generator) -> None:
        """He initialisation by fan-out before batch norm; uniform by fan-in where there is none."""
        with torch.no_grad():
            if self.gain is None:
                bound = 1 / math.sqrt(self.largest.in_channels)
                self.weight.uniform_(-bound, bound, generator=generator)
            else:
                fan_out = self.largest.kernel**2 * self.largest.out_channels / self.largest.groups
                self.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)

    def kernel_weight(self, kernel: int) -> Tensor:
        """Weights at all channels for one kernel size, shape (out, in / groups, kernel, kernel)."""
        weight = self.weight
        for size in self.kernels[1:]:
            if weight.ndim == 2 or weight.shape[-1] <= kernel:
                break
            edge = (weight.shape[-1] - size) // 2
            centre = weight[:, :, edge : edge + size, edge : edge + size]
            flat = centre.reshape(*centre.shape[:2], size * size) @ self.transforms[str(size)]
            weight = flat.reshape(centre.shape)
        return weight

    def params(self, layer: Layer, quantize_output: bool) -> LayerParams:
        """The tensors that ``layer`` uses, as views of the shared ones where possible."""
        out = layer.out_channels
        weight = _first(self.kernel_weight(layer.kernel), out, layer.in_channels // layer.groups)
        return LayerParams(
            weight=weight,
            bias=_first(self.bias, out),
            gain=None if self.gain is None else _first(self.gain, out),
            weight_scale=self._weight_scale(weight, layer.weight_format),
            input_scale=self._input_scale(layer.activation_format),
            output_scale=self.output_log_scale.exp() if quantize_output else None,
        )

    def _weight_scale(self, weight: Tensor, format_name: str) -> Tensor | None:
        number_format = integer(format_name)
        if number_format is None:
            return None
        largest = weight.detach().abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True)
        ratio = torch.exp(self.weight_log_ratio[format_name])
        return largest.clamp_min(1e-8) * ratio / number_format.weight_limit

    def _input_scale(self, format_name: str) -> Tensor | None:
        if integer(format_name) is None:
            return None
        return torch.exp(self.input_log_scale[format_name])


def _first(tensor: Tensor, *sizes: int) -> Tensor:
    """The first entries of the first dimensions; the gradient of a slice costs more than a small layer does."""
    if tensor.shape[: len(sizes)] == sizes:
        return tensor
    return tensor[tuple(slice(size) for size in sizes)]
