"""Elastic kernels, widths and number formats of one layer."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from bitfront.supernet.elastic import ElasticLayer
from bitfront.supernet.layers import Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import IntegerFormat

FORMAT_NAMES = ("fp32", "int8", "int6", "int4")
DEPTHWISE = Layer("x", "depthwise", 6, 6, 7, 1, 12, "fp32", "fp32", False, "relu")
POINTWISE = Layer("x", "pointwise", 4, 6, 1, 1, 12, "fp32", "fp32", True, "none")
LINEAR = Layer("x", "linear", 4, 3, 1, 1, 1, "fp32", "fp32", False, "none")


@pytest.fixture
def depthwise() -> ElasticLayer:
    layer = ElasticLayer(DEPTHWISE, (3, 5, 7), FORMAT_NAMES)
    layer.reset(torch.Generator().manual_seed(0))
    return layer


def _shake(layer: ElasticLayer) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_at_the_start_a_kernel_is_the_centre_of_the_largest(depthwise: ElasticLayer, kernel: int) -> None:
    edge = (7 - kernel) // 2
    centre = depthwise.weight[:, :, edge : 7 - edge, edge : 7 - edge]
    assert torch.equal(depthwise.kernel_weight(kernel), centre)


def test_smaller_kernels_are_chained_through_the_learned_matrices(depthwise: ElasticLayer) -> None:
    _shake(depthwise)
    weight = depthwise.weight.detach().numpy().astype(np.float64)
    five, three = (depthwise.transforms[k].detach().numpy().astype(np.float64) for k in ("5", "3"))
    of_five = np.stack([(channel[0, 1:6, 1:6].ravel() @ five).reshape(1, 5, 5) for channel in weight])
    of_three = np.stack([(channel[0, 1:4, 1:4].ravel() @ three).reshape(1, 3, 3) for channel in of_five])
    np.testing.assert_allclose(depthwise.kernel_weight(7).detach().numpy(), weight)
    np.testing.assert_allclose(depthwise.kernel_weight(5).detach().numpy(), of_five, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(depthwise.kernel_weight(3).detach().numpy(), of_three, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "reached"), [(7, set()), (5, {"5"}), (3, {"5", "3"})])
def test_gradients_reach_the_matrices_on_the_way(depthwise: ElasticLayer, kernel: int, reached: set[str]) -> None:
    depthwise.kernel_weight(kernel).pow(2).sum().backward()  # type: ignore[no-untyped-call]
    with_gradient = {k for k, matrix in depthwise.transforms.items() if matrix.grad is not None}
    assert with_gradient == reached
    for k in reached:
        gradient = depthwise.transforms[k].grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0
    assert depthwise.weight.grad is not None


def test_only_layers_with_several_kernels_have_matrices() -> None:
    assert len(ElasticLayer(POINTWISE, (1,), FORMAT_NAMES).transforms) == 0
    assert set(ElasticLayer(DEPTHWISE, (7,), FORMAT_NAMES).transforms) == set()


def test_a_narrow_layer_takes_the_first_channels() -> None:
    elastic = ElasticLayer(POINTWISE, (1,), FORMAT_NAMES)
    _shake(elastic)
    narrow = dataclasses.replace(POINTWISE, in_channels=3, out_channels=2)
    params = elastic.params(narrow, quantize_output=False)
    assert elastic.gain is not None
    assert params.gain is not None
    assert torch.equal(params.weight, elastic.weight[:2, :3])
    assert torch.equal(params.bias, elastic.bias[:2])
    assert torch.equal(params.gain, elastic.gain[:2])


def test_a_narrow_depthwise_layer_takes_the_first_channels(depthwise: ElasticLayer) -> None:
    narrow = dataclasses.replace(DEPTHWISE, in_channels=4, out_channels=4, kernel=5)
    params = depthwise.params(narrow, quantize_output=False)
    assert params.weight.shape == (4, 1, 5, 5)
    assert torch.equal(params.weight, depthwise.weight[:4, :, 1:6, 1:6])


def test_a_classifier_has_no_batch_norm() -> None:
    elastic = ElasticLayer(LINEAR, (1,), FORMAT_NAMES)
    elastic.reset(torch.Generator().manual_seed(0))
    assert elastic.params(LINEAR, quantize_output=False).gain is None
    assert elastic.weight.shape == (3, 4)
    assert float(elastic.weight.detach().abs().max()) <= 1 / math.sqrt(4)


@pytest.mark.parametrize("weight_format", FORMAT_NAMES)
@pytest.mark.parametrize("activation_format", FORMAT_NAMES)
def test_scales_are_given_exactly_where_the_policy_asks(
    depthwise: ElasticLayer, weight_format: str, activation_format: str
) -> None:
    layer = dataclasses.replace(DEPTHWISE, weight_format=weight_format, activation_format=activation_format)
    params = depthwise.params(layer, quantize_output=False)
    assert (params.weight_scale is None) == (weight_format == "fp32")
    assert (params.input_scale is None) == (activation_format == "fp32")
    assert params.output_scale is None
    assert depthwise.params(layer, quantize_output=True).output_scale is not None


@pytest.mark.parametrize("name", ["int8", "int6", "int4"])
def test_the_weight_scale_follows_kernel_and_width(depthwise: ElasticLayer, name: str) -> None:
    _shake(depthwise)
    number_format = FORMATS.get(name)
    assert isinstance(number_format, IntegerFormat)
    layer = dataclasses.replace(DEPTHWISE, in_channels=4, out_channels=4, kernel=3, weight_format=name)
    params = depthwise.params(layer, quantize_output=False)
    ratio = math.exp(float(depthwise.weight_log_ratio[name].detach()))
    largest = params.weight.detach().abs().reshape(4, -1).amax(1)
    assert params.weight_scale is not None
    assert params.weight_scale.shape == (4, 1, 1, 1)
    expected = largest * ratio / (2 ** (number_format.storage_bits - 1) - 1)
    torch.testing.assert_close(params.weight_scale.reshape(-1), expected)


def test_scales_stay_positive_whatever_is_learned(depthwise: ElasticLayer) -> None:
    with torch.no_grad():
        depthwise.weight[0] = 0.0
        for parameter in (*depthwise.input_log_scale.values(), *depthwise.weight_log_ratio.values()):
            parameter.fill_(-30.0)
        depthwise.output_log_scale.fill_(-30.0)
    layer = dataclasses.replace(DEPTHWISE, weight_format="int4", activation_format="int8")
    params = depthwise.params(layer, quantize_output=True)
    for scale in (params.weight_scale, params.input_scale, params.output_scale):
        assert scale is not None
        assert float(scale.detach().min()) > 0


def test_formats_learn_steps_of_their_own(depthwise: ElasticLayer) -> None:
    layer = dataclasses.replace(DEPTHWISE, weight_format="int4", activation_format="int8")
    params = depthwise.params(layer, quantize_output=True)
    assert params.weight_scale is not None
    assert params.input_scale is not None
    assert params.output_scale is not None
    (params.weight_scale.sum() + params.input_scale + params.output_scale).backward()  # type: ignore[no-untyped-call]
    moved = {name for name, parameter in depthwise.named_parameters() if parameter.grad is not None}
    assert moved == {"weight_log_ratio.int4", "input_log_scale.int8", "output_log_scale"}


def test_initial_weights_have_the_spread_of_he(depthwise: ElasticLayer) -> None:
    large = dataclasses.replace(POINTWISE, in_channels=64, out_channels=200)
    elastic = ElasticLayer(large, (1,), FORMAT_NAMES)
    elastic.reset(torch.Generator().manual_seed(0))
    assert float(elastic.weight.detach().std()) == pytest.approx(math.sqrt(2 / 200), rel=0.03)
    # depthwise: each channel feeds one channel
    assert float(depthwise.weight.detach().std()) == pytest.approx(math.sqrt(2 / 49), rel=0.15)


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for seed in (0, 0, 1):
        elastic = ElasticLayer(POINTWISE, (1,), FORMAT_NAMES)
        elastic.reset(torch.Generator().manual_seed(seed))
        weights.append(elastic.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
