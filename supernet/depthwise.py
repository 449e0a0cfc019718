"""Depthwise convolution whose gradient for large kernels is fast on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# oneDNN has a vectorised kernel for weight gradients up to this many columns, and any number of rows; for more it
# falls back to one that takes ten times as long.
_FAST_COLUMNS = 3
_NO_DILATION, _NO_PADDING = [1, 1], [0, 0]
_TWICE: ContextVar[bool] = ContextVar("twice", default=False)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Inside, gradients have gradients, and those of large kernels take their time."""
    token = _TWICE.set(True)
    try:
        yield
    finally:
        _TWICE.reset(token)


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Depthwise convolution with 'same' padding of kernel // 2.

    Args:
        x: (n, channels, size, size).
        weight: (channels, 1, kernel, kernel).
        stride: in both directions.
    """
    kernel = weight.shape[-1]
    striped = kernel > _FAST_COLUMNS and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if striped and not _TWICE.get() and torch.is_grad_enabled() and weight.requires_grad:
        result: Tensor = _StripedGradient.apply(x, weight, stride)  # type: ignore[no-untyped-call]
        return result
    return F.conv2d(x, weight, None, stride, kernel // 2, 1, x.shape[1])


class _StripedGradient(torch.autograd.Function):
    """The weight gradient is taken in strips of few columns, each that of a convolution of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        for_input = _input_gradient(gradient, x, weight, ctx.stride) if ctx.needs_input_grad[0] else None
        return for_input, _weight_gradient(gradient, x, weight, ctx.stride), None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    padding = weight.shape[-1] // 2
    if stride == 1:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, 1, x.shape[1])
    return _backward(gradient, x, weight, stride, [padding, padding], for_input=True)


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[-1]
    padded = F.pad(x, (kernel // 2,) * 4)
    reach = (gradient.shape[-1] - 1) * stride
    strips = []
    for first in range(0, kernel, _FAST_COLUMNS):
        columns = min(_FAST_COLUMNS, kernel - first)
        seen = padded[..., first : first + reach + columns].contiguous(memory_format=torch.channels_last)
        part = weight[..., first : first + columns].contiguous()
        strips.append(_backward(gradient, seen, part, stride, _NO_PADDING, for_input=False))
    return torch.cat(strips, dim=-1)


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: list[int], for_input: bool
) -> Tensor:
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, padding, _NO_DILATION, False, _NO_PADDING, x.shape[1],
        [for_input, not for_input, False],
    )  # fmt: skip
    result: Tensor = found[0 if for_input else 1]
    return result
