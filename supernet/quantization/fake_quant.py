"""Fake quantization with learned step sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: int, limit: int) -> Tensor:
        low, high = -zero_point, limit - zero_point
        # bf16 has 8 bits of precision: codes and step size gradients would be wrong under autocast
        real = x.to(torch.promote_types(x.dtype, torch.float32)) / scale
        codes = torch.clamp(torch.round(real), low, high)
        ctx.save_for_backward(real, codes)
        ctx.bounds, ctx.scale_shape = (low, high), scale.shape
        return (codes * scale).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        real, codes = ctx.saved_tensors
        low, high = ctx.bounds
        inside = (real >= low) & (real <= high)
        narrow, gradient = gradient.dtype, gradient.to(real.dtype)
        per_value = gradient * torch.where(inside, codes - real, codes)
        return (gradient * inside).to(narrow), per_value.sum_to_size(ctx.scale_shape), None, None


def fake_quantize(x: Tensor, scale: Tensor, zero_point: int, limit: int) -> Tensor:
    """Round ``x`` to the codes 0..``limit`` and back, differentiable in ``x`` and ``scale``.

    The gradients are those of LSQ (Esser et al. 2020, equations 1-3): straight through for values inside the
    range, and ``round(x/s) - x/s`` inside or the saturated code outside for the step size. The step sizes here
    are trained as logarithms by an Adam-type optimizer, which is blind to a constant factor on a gradient, so
    LSQ's factor 1/sqrt(n * limit) is left out.

    Args:
        x: any shape.
        scale: positive, broadcasts against ``x``.
        zero_point: the code of 0.0; codes of real 0 are exact.
        limit: the largest code.
    """
    result: Tensor = _FakeQuantize.apply(x, scale, zero_point, limit)  # type: ignore[no-untyped-call]
    return result


def fake_quantize_weight(weight: Tensor, scale: Tensor, limit: int) -> Tensor:
    """Symmetric form for weights: codes from -``limit`` to ``limit``, one ``scale`` per output channel."""
    return fake_quantize(weight, scale, limit, 2 * limit)
