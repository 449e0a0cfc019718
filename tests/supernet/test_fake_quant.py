"""Fake quantization against NumPy, the LSQ formulas and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitfront.supernet.quantization.fake_quant import fake_quantize, fake_quantize_weight

ACTIVATIONS = [(0, 15), (8, 15), (0, 63), (32, 63), (0, 255), (128, 255)]


def _values(n: int, seed: int, spread: float) -> Tensor:
    return spread * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("zero_point", "limit"), ACTIVATIONS)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 10.0))
def test_forward_is_the_formula(zero_point: int, limit: int, seed: int, scale: float) -> None:
    x = _values(64, seed, limit * scale / 2)
    step = np.float32(scale)
    codes = np.clip(np.rint(x.numpy() / step) + zero_point, 0, limit)
    expected = (codes - zero_point) * step
    np.testing.assert_array_equal(fake_quantize(x, torch.tensor(step), zero_point, limit).numpy(), expected)


def test_halves_go_to_the_even_code() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
    assert fake_quantize(x, torch.tensor(1.0), 8, 15).tolist() == [0.0, 2.0, 2.0, -0.0, -2.0, -2.0]


def test_saturation_and_zero() -> None:
    x = torch.tensor([-1e9, -0.0, 0.0, 1e9])
    assert fake_quantize(x, torch.tensor(0.5), 8, 15).tolist() == [-4.0, 0.0, 0.0, 3.5]
    assert fake_quantize(x, torch.tensor(0.5), 0, 15).tolist() == [0.0, 0.0, 0.0, 7.5]


def test_nan_stays_nan() -> None:
    assert bool(fake_quantize(torch.tensor([float("nan")]), torch.tensor(0.5), 0, 15).isnan().all())


def test_weights_are_symmetric_with_a_scale_per_channel() -> None:
    weight = _values(4 * 9, 1, 1.0).reshape(4, 1, 3, 3)
    scale = torch.tensor([0.05, 0.2, 0.01, 1.0]).reshape(4, 1, 1, 1)
    quantized = fake_quantize_weight(weight, scale, 7)
    expected = np.clip(np.rint(weight.numpy() / scale.numpy()), -7, 7) * scale.numpy()
    np.testing.assert_array_equal(quantized.numpy(), expected)
    assert torch.equal(fake_quantize_weight(-weight, scale, 7), -quantized)


@pytest.mark.parametrize(("zero_point", "limit"), ACTIVATIONS)
def test_gradients_are_those_of_lsq(zero_point: int, limit: int) -> None:
    scale_value = 0.37
    x = _values(400, 5, limit * scale_value / 2).double().requires_grad_()
    scale = torch.tensor(scale_value, dtype=torch.float64, requires_grad=True)
    weight = _values(400, 6, 1.0).double()
    (fake_quantize(x, scale, zero_point, limit) * weight).sum().backward()  # type: ignore[no-untyped-call]
    low, high = -zero_point, limit - zero_point
    ratio = x.detach().numpy() / scale_value
    inside = (ratio > low) & (ratio < high)
    assert 0 < inside.sum() < 400
    by_scale = np.where(inside, np.rint(ratio) - ratio, np.where(ratio <= low, low, high))
    assert x.grad is not None
    assert scale.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.where(inside, weight.numpy(), 0.0))
    np.testing.assert_allclose(scale.grad.item(), (by_scale * weight.numpy()).sum(), rtol=1e-12)


def test_the_gradient_of_scale_is_the_real_slope_where_values_saturate() -> None:
    """Beyond the range the output is the limit times the scale, without any straight-through estimate."""
    x = torch.tensor([-50.0, 40.0, 60.0], dtype=torch.float64)

    def total(value: float) -> Tensor:
        scale = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        result = fake_quantize(x, scale, 8, 15).sum()
        result.backward()  # type: ignore[no-untyped-call]
        assert scale.grad is not None
        slopes.append(float(scale.grad))
        return result.detach()

    slopes: list[float] = []
    step = 1e-6
    middle = (total(0.5 + step) - total(0.5 - step)) / (2 * step)
    assert slopes[0] == slopes[1] == pytest.approx(float(middle))


def test_the_gradient_of_scale_is_the_straight_through_slope_inside() -> None:
    """d(round(x/s) s)/ds with d round(r)/dr taken as 1, by finite differences of the same expression."""
    x = torch.tensor([0.8, -1.3, 2.2], dtype=torch.float64)
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    fake_quantize(x, scale, 8, 15).sum().backward()  # type: ignore[no-untyped-call]
    offset = torch.round(x / 0.5) - x / 0.5

    def straight_through(value: float) -> Tensor:
        return ((x / value + offset) * value).sum()

    slope = (straight_through(0.5 + 1e-6) - straight_through(0.5 - 1e-6)) / 2e-6
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(float(slope), rel=1e-6)


def test_the_gradient_of_scale_has_the_shape_of_scale() -> None:
    weight = _values(4 * 6, 2, 1.0).reshape(4, 6).requires_grad_()
    scale = torch.full((4, 1), 0.1, requires_grad=True)
    fake_quantize_weight(weight, scale, 7).pow(2).sum().backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert scale.grad.shape == (4, 1)
    rows = []
    for i in range(4):
        one = torch.full((1, 1), 0.1, requires_grad=True)
        fake_quantize_weight(weight.detach()[i : i + 1], one, 7).pow(2).sum().backward()  # type: ignore[no-untyped-call]
        assert one.grad is not None
        rows.append(one.grad[0])
    torch.testing.assert_close(scale.grad, torch.stack(rows))


@given(seed=st.integers(0, 10_000))
def test_bf16_values_are_rounded_and_differentiated_in_fp32(seed: int) -> None:
    """Under autocast activations are bf16, in which a quotient by a scalar step size would be as well."""
    narrow = _values(256, seed, 40.0).bfloat16()
    results = []
    for x in (narrow.clone(), narrow.float()):
        x, scale = x.requires_grad_(), torch.tensor(0.3, requires_grad=True)
        y = fake_quantize(x, scale, 128, 255)
        assert y.dtype == x.dtype
        upstream = torch.ones_like(x)
        y.backward(upstream)  # type: ignore[no-untyped-call]
        assert x.grad is not None
        assert scale.grad is not None
        results.append((y, x.grad, scale.grad))
    (y, dx, ds), (expected_y, expected_dx, expected_ds) = results
    assert torch.equal(y, expected_y.bfloat16())
    assert torch.equal(dx, expected_dx.bfloat16())
    assert ds.dtype == torch.float32
    assert torch.equal(ds, expected_ds)
