"""Weights in few bits of float: what is exported is the network that was measured, and takes what was counted."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.network_file import network_bytes, read_network
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, RuntimeName
from bitfront.supernet.forward import EPSILON
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat
from bitfront.supernet.quantization.policy import layer_bytes, size_bytes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.fashion import fashion
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet

EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2")
eight_bits = pytest.mark.parametrize("name", EIGHT_BITS)
FORMS: dict[str, tuple[str, RuntimeName]] = {
    "ONNX Runtime": ("onnx", "onnxruntime"),
    "OpenVINO": ("onnx", "openvino"),
    "torch": ("torch", "onnxruntime"),
}


@pytest.fixture(autouse=True, scope="module")
def added_formats() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in EIGHT_BITS:
            patch.setitem(FORMATS._loaded, name, FloatFormat(name, 8, getattr(torch, name)))
            patch.setitem(FORMATS._third_party, name, "tests")
        yield


def blocks_of(space: SearchSpace, weights: str, activations: str = "fp32") -> list[Block]:
    """The largest network, all of it in one pair of formats."""

    def formatted(layer: Layer) -> Layer:
        return replace(layer, weight_format=weights, activation_format=activations)

    blocks = space.blocks(space.extremes()[1])
    return [replace(block, layers=tuple(map(formatted, block.layers))) for block in blocks]


def measured(supernet: Supernet, dataset: Dataset, blocks: list[Block]) -> tuple[Subnet, torch.Tensor]:
    """What measurements run, and images for it."""
    size = blocks[0].layers[0].in_size
    statistics = calibrate(supernet, blocks, resize(dataset.tensor(dataset.train.images), size))
    return Subnet(supernet, blocks, statistics), resize(dataset.tensor(dataset.validation.images), size)


def exported(subnet: Subnet, images: torch.Tensor, form: str) -> NDArray[np.floating]:
    name, runtime = FORMS[form]
    if runtime == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is an extra")
    target = TARGETS.get(name)
    return target.logits(target.files(subnet.fold(), ExportOptions(runtime)), images.numpy())


def relative_error(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    return float(np.abs(found - expected).mean() / expected.std())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "most"), [*((each, 1e-5) for each in EIGHT_BITS), ("bf16", 0.02)])
def test_answers_are_those_of_the_fake_quantized_network(
    shaken_supernet: Supernet, tiny_space: MBConvSpace, tiny_data: Dataset, name: str, most: float, form: str
) -> None:
    """Those of bf16 are rounded once more, behind batch norm, as it has no scale to take that."""
    subnet, images = measured(shaken_supernet, tiny_data, blocks_of(tiny_space, name))
    with torch.no_grad():
        expected = subnet(images).numpy()
    assert relative_error(exported(subnet, images, form), expected) < most
    real, _ = measured(shaken_supernet, tiny_data, blocks_of(tiny_space, "fp32"))
    assert relative_error(exported(real, images, form), expected) > 1e-3


@eight_bits
def test_numbers_are_rounded_before_batch_norm_and_scales_are_its_factors(
    shaken_supernet: Supernet, tiny_space: MBConvSpace, tiny_data: Dataset, name: str
) -> None:
    number_format = FORMATS.get(name)
    assert isinstance(number_format, FloatFormat)
    subnet, _ = measured(shaken_supernet, tiny_data, blocks_of(tiny_space, name))
    signs = set[float]()
    for part in subnet.fold().layers:
        own = subnet._part(part.layer)
        rounded = number_format.rounded(subnet.weight(part.layer).detach())
        factor = torch.ones(part.layer.out_channels)
        gain = own.params().gain
        if gain is not None:
            factor = gain.detach() / torch.sqrt(own.moments()[1] + EPSILON)
        signs |= set(factor.sign().tolist())
        assert part.weight_scale is not None
        np.testing.assert_allclose(part.weight_scale, factor.abs().numpy(), rtol=1e-6)
        flipped = rounded * factor.sign().reshape(-1, *[1] * (rounded.ndim - 1))
        stored = number_format.rounded(torch.from_numpy(part.unscaled()))
        assert torch.equal(stored, flipped)
    assert signs == {-1.0, 1.0}


@eight_bits
def test_numbers_are_got_back_from_weights_of_any_scale(tiny_space: MBConvSpace, name: str) -> None:
    """All numbers of a format, the smallest ones among them."""
    number_format = FORMATS.get(name)
    assert isinstance(number_format, FloatFormat)
    numbers = torch.arange(256, dtype=torch.uint8).view(number_format.dtype).float()
    numbers = numbers[numbers.isfinite()]
    part = random_folded(blocks_of(tiny_space, name), np.random.default_rng(0)).layers[0]
    for scale in (float(np.finfo(np.float32).tiny), 1e-20, 0.37, 1.0, 1e20):
        scales = np.full(len(numbers), scale, np.float32)
        weight = (numbers.numpy() * scales)[:, None, None, None]
        stored = replace(part, weight=weight, weight_scale=scales).unscaled()
        assert torch.equal(number_format.rounded(torch.from_numpy(stored)).reshape(-1), numbers)


@eight_bits
def test_bytes_of_a_layer_count_the_scales(tiny_space: MBConvSpace, name: str) -> None:
    for block in blocks_of(tiny_space, name):
        for layer in block.layers:
            assert layer_bytes(layer) == layer.weights + 8 * layer.out_channels


@eight_bits
@pytest.mark.parametrize("form", FORMS)
def test_forms_take_what_was_counted(name: str, form: str) -> None:
    folded = random_folded(blocks_of(fashion(), name), np.random.default_rng(0))
    target = TARGETS.get(FORMS[form][0])
    described = target.described(folded, target.files(folded, ExportOptions(FORMS[form][1])))
    assert described["size_bytes"] == pytest.approx(size_bytes(part.layer for part in folded.layers), rel=0.001)


@eight_bits
def test_a_network_comes_back_from_its_file_as_it_was(tiny_space: MBConvSpace, name: str) -> None:
    folded = random_folded(blocks_of(tiny_space, name, "int8"), np.random.default_rng(0))
    read = read_network(network_bytes(folded)).folded
    for found, part in zip(read.layers, folded.layers, strict=True):
        assert found.weight_codes is part.weight_codes is None
        for each in ("weight", "weight_scale", "bias"):
            np.testing.assert_array_equal(getattr(found, each), getattr(part, each))


@eight_bits
@pytest.mark.parametrize("target", ["integer", "c"])
def test_integer_forms_name_all_layers(tiny_space: MBConvSpace, name: str, target: str) -> None:
    folded = random_folded(blocks_of(tiny_space, name, "int8"), np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match=rf"stem \({name} weights.*head.classifier \({name} weights"):
        TARGETS.get(target).files(folded, ExportOptions())


@pytest.mark.parametrize("target", ["onnx", "torch"])
def test_weights_without_their_scales_are_refused(tiny_space: MBConvSpace, target: str) -> None:
    folded = random_folded(blocks_of(tiny_space, EIGHT_BITS[0]), np.random.default_rng(0))
    bare = replace(folded, layers=tuple(replace(part, weight_scale=None) for part in folded.layers))
    with pytest.raises(UnsupportedError, match="layer stem has float8_e4m3fn weights but no scales: fold it anew"):
        TARGETS.get(target).files(bare, ExportOptions())
