"""Batch-norm recalibration against torch's own batch norm; first step sizes against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bitfront.supernet.calibration import _weight_ratio, calibrate, initialise_scales
from bitfront.supernet.forward import EPSILON, batch_normalise, run_network
from bitfront.supernet.layers import Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import IntegerFormat
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture
def images() -> Tensor:
    return torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def _names(space: MBConvSpace, genome: NDArray[np.uint8]) -> list[str]:
    return [layer.name for layer in space.layers(genome) if layer.op != "linear"]


def test_statistics_of_one_batch_are_those_of_torch(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor, rng: np.random.Generator
) -> None:
    small = tiny_space.restrict({"resolution": [8]}).restrict_formats(lambda op: {("fp32", "fp32")})
    for genome in small.sample(6, rng):
        blocks = tiny_space.blocks(genome)
        norms: dict[str, nn.BatchNorm2d] = {}

        def by_torch(
            layer: Layer, x: Tensor, gain: Tensor, bias: Tensor, norms: dict[str, nn.BatchNorm2d] = norms
        ) -> Tensor:
            norm = norms.setdefault(layer.name, nn.BatchNorm2d(x.shape[1], eps=EPSILON, momentum=None))
            norm.weight.data, norm.bias.data = gain, bias
            result: Tensor = norm(x)
            return result

        statistics = calibrate(shaken_supernet, blocks, images)
        with torch.no_grad():
            shaken_supernet(images, blocks, by_torch)
        assert list(statistics.moments) == list(norms) == _names(tiny_space, genome)
        for layer in tiny_space.layers(genome)[:-1]:
            mean, variance = statistics.moments[layer.name]
            n = len(images) * layer.out_size**2  # torch keeps the unbiased variance
            running_mean, running_variance = norms[layer.name].running_mean, norms[layer.name].running_var
            assert running_mean is not None
            assert running_variance is not None
            torch.testing.assert_close(mean, running_mean, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(variance, running_variance * (n - 1) / n, rtol=1e-3, atol=1e-5)


def test_calibrated_networks_answer_as_if_the_images_were_one_batch(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    blocks = tiny_space.blocks(tiny_space.extremes()[0])
    statistics = calibrate(shaken_supernet, blocks, images)
    with torch.no_grad():
        by_batch = shaken_supernet(images, blocks)
        by_statistics = shaken_supernet(images, blocks, statistics.normalise)
        alone = shaken_supernet(images[:1], blocks, statistics.normalise)
    torch.testing.assert_close(by_statistics, by_batch, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone, by_statistics[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 59])
def test_moments_of_several_batches_are_pooled(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor, batch_size: int
) -> None:
    """The first layer sees the same values however the images are cut; batches may differ in size."""
    blocks = tiny_space.blocks(tiny_space.extremes()[0])
    whole = calibrate(shaken_supernet, blocks, images).moments["stem"]
    pooled = calibrate(shaken_supernet, blocks, images, batch_size).moments["stem"]
    for one, other in zip(whole, pooled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_equal_batches_pool_to_the_moments_of_one(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    """Where all batches are alike, every layer agrees and not only the first."""
    blocks = tiny_space.blocks(tiny_space.extremes()[1])
    large = F.interpolate(images, (12, 12))
    once = calibrate(shaken_supernet, blocks, large)
    thrice = calibrate(shaken_supernet, blocks, large.repeat(3, 1, 1, 1), batch_size=60)
    for name, moments in once.moments.items():
        for one, other in zip(moments, thrice.moments[name], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_small_variance_around_a_large_mean_is_not_lost(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    """The variance is a difference of squares, which single precision would drown."""
    blocks = tiny_space.blocks(tiny_space.extremes()[0])
    with torch.no_grad():
        weight = torch.zeros(4, 1, 3, 3)
        weight[:, 0, 1, 1] = 1.0
        shaken_supernet.elastic("stem").weight.copy_(weight)
    shifted = 1000 + images
    mean, variance = calibrate(shaken_supernet, blocks, shifted, batch_size=20).moments["stem"]
    exact = shifted.double()
    torch.testing.assert_close(mean.double(), exact.mean().expand(4), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), exact.var(correction=0).expand(4), rtol=1e-3, atol=0)


def test_calibration_leaves_the_weights_alone(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in shaken_supernet.state_dict().items()}
    calibrate(shaken_supernet, tiny_space.blocks(tiny_space.extremes()[0]), images)
    for name, tensor in shaken_supernet.state_dict().items():
        assert torch.equal(tensor, before[name])


# -- first step sizes --------------------------------------------------------------------------------------


def _fake(values: Tensor, scale: float, zero_point: int, limit: int) -> Tensor:
    return (torch.clamp(torch.round(values / scale) + zero_point, 0, limit) - zero_point) * scale


def test_first_steps_are_near_the_best_for_what_the_layers_see(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    genome = tiny_space.genome({"stage0.depth": 2, "stage1.depth": 2})
    blocks = tiny_space.blocks(genome)
    seen: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def watch(layer: Layer, x: Tensor, y: Tensor) -> None:
        seen[layer.name], outputs[layer.name] = x.reshape(-1), y.reshape(-1)

    images = images[:16]  # so few that the observers look at every value
    initialise_scales(shaken_supernet, [blocks], [images])
    with torch.no_grad():
        run_network(blocks, images, shaken_supernet.params, batch_normalise, watch)
    for layer in tiny_space.layers(genome):
        elastic = shaken_supernet.elastic(layer.name)
        for name in ("int8", "int6", "int4"):
            scale = float(elastic.input_log_scale[name].detach().exp())
            _assert_near_best(seen[layer.name], scale, name, layer.signed_input)
        _assert_near_best(
            outputs[layer.name], float(elastic.output_log_scale.detach().exp()), "int8", not layer.relu
        )


def _assert_near_best(values: Tensor, scale: float, name: str, signed: bool) -> None:
    number_format = FORMATS.get(name)
    assert isinstance(number_format, IntegerFormat)
    zero_point, limit = number_format.zero_point(signed), number_format.activation_limit

    def error(step: float) -> float:
        return float((_fake(values, step, zero_point, limit) - values).pow(2).mean())

    largest = float(values.abs().max()) / (limit - zero_point)
    assert error(scale) <= 1.15 * min(error(float(f) * largest) for f in np.linspace(0.02, 1, 150))


def test_first_weight_ratios_are_near_the_best(tiny_space: MBConvSpace, shaken_supernet: Supernet) -> None:
    genome = tiny_space.genome({"stage0.depth": 2, "stage1.depth": 2})
    initialise_scales(shaken_supernet, [tiny_space.blocks(genome)], [torch.randn(8, 1, 8, 8)])
    for layer in shaken_supernet.elastic_layers():
        flat = layer.weight.detach().reshape(len(layer.weight), -1)
        relative = flat / flat.abs().amax(1, keepdim=True)
        for name, limit in (("int8", 127), ("int6", 31), ("int4", 7)):
            ratio = float(layer.weight_log_ratio[name].detach().exp())
            errors = {
                float(r): float((_fake(relative, float(r) / limit, limit, 2 * limit) - relative).pow(2).mean())
                for r in [ratio, *np.linspace(0.3, 1, 200)]
            }
            assert errors[ratio] <= 1.1 * min(errors.values())


def test_ratios_of_many_weights_are_near_those_of_all() -> None:
    weight = torch.randn(256, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[..., 0, 0] *= 4  # a sample that met few of the kernel's places would err
    relative = weight.reshape(256, -1) / weight.reshape(256, -1).abs().amax(1, keepdim=True)
    for name in ("int8", "int4"):
        number_format = FORMATS.get(name)
        assert isinstance(number_format, IntegerFormat)
        limit = number_format.weight_limit

        def error(ratio: float, limit: int = limit) -> float:
            return float((_fake(relative, ratio / limit, limit, 2 * limit) - relative).pow(2).mean())

        best = min(error(float(ratio)) for ratio in np.linspace(0.3, 1, 36))
        assert error(_weight_ratio(weight, number_format)) <= 1.02 * best


def test_layers_that_no_network_has_keep_their_steps(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, images: Tensor
) -> None:
    skipped = shaken_supernet.elastic("stage1.block1.expand").input_log_scale["int8"].detach()
    visited = shaken_supernet.elastic("stage1.block0.expand").input_log_scale["int8"].detach()
    before = float(skipped), float(visited)
    initialise_scales(shaken_supernet, [tiny_space.blocks(tiny_space.extremes()[0])], [images])
    assert float(skipped) == before[0]
    assert float(visited) != before[1]
