from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bitfront.supernet.depthwise import depthwise_conv2d


@pytest.mark.parametrize("size", [4, 7, 14])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_output_and_gradients_are_those_of_torch(kernel: int, stride: int, size: int) -> None:
    generator = torch.Generator().manual_seed(kernel)
    x = torch.randn(3, 10, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(10, 1, kernel, kernel, generator=generator)
    found, expected = ((x.clone().requires_grad_(), weight.clone().requires_grad_()) for _ in range(2))
    ours = depthwise_conv2d(found[0], found[1], stride)
    theirs = F.conv2d(expected[0], expected[1], None, stride, kernel // 2, 1, 10)
    assert torch.equal(ours, theirs)
    direction = torch.randn(ours.shape, generator=generator)
    (ours * direction).sum().backward()  # type: ignore[no-untyped-call]
    (theirs * direction).sum().backward()  # type: ignore[no-untyped-call]
    for one, other in zip(found, expected, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_an_input_without_gradient_gets_none() -> None:
    x, weight = torch.randn(2, 4, 7, 7), torch.randn(4, 1, 7, 7).requires_grad_()
    depthwise_conv2d(x, weight, 1).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is None
    assert weight.grad is not None


def test_without_gradients_nothing_is_recorded() -> None:
    weight = torch.randn(4, 1, 7, 7).requires_grad_()
    with torch.no_grad():
        assert depthwise_conv2d(torch.randn(2, 4, 7, 7), weight, 2).grad_fn is None
