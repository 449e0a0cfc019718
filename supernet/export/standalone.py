"""The parts of a stand-alone ``model.py`` that are the same in all.

The text of this module stands in each of them, so it uses nothing but torch, safetensors and the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class FakeQuant(nn.Module):
    """Rounds to the nearest of the codes 0 to 2**bits - 1, and back: value = (code - zero_point) * scale."""

    scale: Tensor

    def __init__(self, scale: float, zero_point: int, bits: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32, device="cpu"), persistent=False)
        self.low, self.high = -zero_point, 2**bits - 1 - zero_point

    def forward(self, x: Tensor) -> Tensor:
        """The quantized values of ``x``, any shape."""
        return torch.clamp(torch.round(x / self.scale), self.low, self.high) * self.scale


class Rounded(nn.Module):
    """Rounds to the nearest values of a floating-point type of fewer bits."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """The rounded values of ``x``, any shape."""
        return x.to(self.dtype).to(x.dtype)


def unpacked(packed: Tensor, count: int, bits: int) -> Tensor:
    """``count`` signed codes of ``bits`` bits, in two's complement, lowest bit first, without gaps."""
    eight = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    digits = eight.reshape(-1)[: count * bits].reshape(count, bits)
    worth = torch.tensor([2.0**i for i in range(bits - 1)] + [-(2.0 ** (bits - 1))])
    return digits.float() @ worth


def fill(network: nn.Module, tensors: Mapping[str, Tensor], weight_bits: Mapping[str, int]) -> None:
    """Give every layer its weights and biases as real numbers, times scales where they have some."""
    for name, layer in network.named_children():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        weight, shape = tensors[f"{name}.weight"], layer.weight.shape
        if name in weight_bits:
            weight = unpacked(weight, shape.numel(), weight_bits[name])
        weight = weight.float().reshape(shape[0], -1)
        if f"{name}.weight_scale" in tensors:
            weight = weight * tensors[f"{name}.weight_scale"][:, None]
        layer.weight = nn.Parameter(weight.reshape(shape), requires_grad=False)
        layer.bias = nn.Parameter(tensors[f"{name}.bias"].float(), requires_grad=False)
