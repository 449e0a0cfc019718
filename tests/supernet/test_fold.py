"""Folded networks against a NumPy interpreter of what a folded network means."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bitfront.supernet import subnet as subnet_module
from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.forward import run_network
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.policy import is_integer, quantized_outputs
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet

Array = NDArray[np.floating[Any]]


# -- the interpreter: float64 unless its input is float32 ---------------------------------------------------


def fake_quantize(x: Array, quant: TensorQuant | None) -> Array:
    if quant is None:
        return x
    scale = np.array(quant.scale, dtype=x.dtype)
    codes = np.clip(np.rint(x / scale) + quant.zero_point, 0, 2**quant.bits - 1)
    result: Array = (codes - quant.zero_point) * scale
    return result


def convolve(layer: Layer, x: Array, weight: Array) -> Array:
    edge = layer.kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = sliding_window_view(padded, (layer.kernel, layer.kernel), (2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride]
    if layer.op == "depthwise":
        weight, sizes = weight[:, 0], "nchwij,cij->nchw"
    else:
        sizes = "nchwij,ocij->nohw"
    result: Array = np.einsum(sizes, windows, weight)
    return result


def run_folded_layer(folded: FoldedLayer, x: Array) -> Array:
    """On an input that is quantized already."""
    weight: Array = folded.weight.astype(x.dtype)
    bias: Array = folded.bias.astype(x.dtype)
    if folded.weight_codes is not None and folded.weight_scale is not None:
        scale: Array = folded.weight_scale.astype(x.dtype)
        weight = folded.weight_codes * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if folded.layer.op == "linear":
        y = x @ weight.T + bias
    else:
        y = convolve(folded.layer, x, weight) + bias[:, None, None]
    y = np.maximum(y, 0) if folded.layer.relu else y
    return fake_quantize(y, folded.output)


def run_folded(network: Folded, images: Array, real_shortcut: bool = False) -> Array:
    layers = {folded.layer.name: folded for folded in network.layers}
    x = images
    for block in network.blocks:
        shortcut = x
        for layer in block.layers:
            x = x.mean((2, 3)) if layer.op == "linear" else x
            x = fake_quantize(x, layers[layer.name].input)
            shortcut = x if layer is block.layers[0] and not real_shortcut else shortcut
            x = run_folded_layer(layers[layer.name], x)
        x = shortcut + x if block.residual else x
    return x


# -- the tests ---------------------------------------------------------------------------------------------


def _subnet(supernet: Supernet, dataset: Dataset, genome: NDArray[np.uint8]) -> tuple[Subnet, torch.Tensor]:
    blocks = supernet.space.blocks(genome)
    size = blocks[0].layers[0].in_size
    statistics = calibrate(supernet, blocks, resize(dataset.tensor(dataset.train.images), size))
    images = resize(dataset.tensor(dataset.validation.images), size)
    return Subnet(supernet, blocks, statistics), images


@pytest.fixture
def genomes(tiny_space: MBConvSpace, rng: np.random.Generator) -> Genomes:
    return tiny_space.sample(40, rng)


def test_real_networks_fold_without_a_trace(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    for genome in tiny_space.assign(genomes[:12], {"weight_format": "fp32", "activation_format": "fp32"}):
        subnet, images = _subnet(shaken_supernet, tiny_data, genome)
        with torch.no_grad():
            expected = subnet(images).numpy()
        found = run_folded(subnet.fold(), images.double().numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_networks_with_quantized_weights_fold_without_a_trace(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    """Weight codes do not depend on the input, so nothing can be rounded differently."""
    for genome in tiny_space.assign(genomes[:12], {"activation_format": "fp32"}):
        subnet, images = _subnet(shaken_supernet, tiny_data, genome)
        with torch.no_grad():
            expected = subnet(images).numpy()
        found = run_folded(subnet.fold(), images.double().numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def _seen_by_layers(
    subnet: Subnet, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Layer name to (input before its quantization, output) in a forward of the subnet."""
    seen = {}

    def watch(layer: Layer, x: torch.Tensor, y: torch.Tensor) -> None:
        seen[layer.name] = x.numpy(), y.numpy()

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(subnet_module, "run_network", functools.partial(run_network, watch=watch))
        subnet(images)
    return seen


def test_every_layer_folds_without_a_trace(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer by layer on the very inputs that torch saw, so that the input's codes are the same.

    Only where the output is quantized, a value near the border of two codes may fall to the other side.
    """
    flipped, stored = 0, 0
    for genome in genomes:
        subnet, images = _subnet(shaken_supernet, tiny_data, genome)
        seen = _seen_by_layers(subnet, images[:20], monkeypatch)
        for folded in subnet.fold().layers:
            x, y = seen[folded.layer.name]
            found = run_folded_layer(folded, fake_quantize(x, folded.input))
            if folded.output is None:
                np.testing.assert_allclose(found, y, rtol=1e-4, atol=2e-5 * float(np.abs(y).max()))
            else:
                steps = np.rint((found - y) / folded.output.scale)
                assert np.abs(steps).max() <= 1
                flipped, stored = flipped + int((steps != 0).sum()), stored + y.size
    assert stored > 10_000
    assert flipped < 1e-3 * stored


def test_quantized_networks_answer_alike(shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes) -> None:
    """Roundings in double and in single precision may differ now and then, and travel on: nearly all agree."""
    right, close = [], []
    for genome in genomes:
        subnet, images = _subnet(shaken_supernet, tiny_data, genome)
        with torch.no_grad():
            expected = subnet(images).numpy()
        found = run_folded(subnet.fold(), images.double().numpy())
        right.append(found.argmax(1) == expected.argmax(1))
        close.append(np.abs(found - expected).max(1) < 0.02 * expected.std())
    assert np.mean(right) > 0.995
    assert np.mean(close) > 0.98


def test_codes_scales_and_quantizers_keep_their_promises(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    for genome in genomes:
        subnet, _ = _subnet(shaken_supernet, tiny_data, genome)
        network = subnet.fold()
        outputs = quantized_outputs(network.blocks)
        assert [folded.layer for folded in network.layers] == list(shaken_supernet.space.layers(genome))
        assert (network.in_channels, network.classes) == (1, 10)
        assert network.resolution == network.layers[0].layer.in_size
        for folded in network.layers:
            _check_weights(folded)
            layer = folded.layer
            _check_quant(folded.input, layer.activation_format, layer.signed_input)
            _check_quant(folded.output, "int8" if layer.name in outputs else "fp32", not layer.relu)


def _check_weights(folded: FoldedLayer) -> None:
    layer = folded.layer
    shape = (layer.out_channels, layer.in_channels // layer.groups)
    assert folded.weight.shape == (shape if layer.op == "linear" else (*shape, layer.kernel, layer.kernel))
    assert folded.bias.shape == (layer.out_channels,)
    assert folded.weight.dtype == folded.bias.dtype == np.float32
    if not is_integer(layer.weight_format):
        assert folded.weight_codes is None
        assert folded.weight_scale is None
        return
    assert folded.weight_codes is not None
    assert folded.weight_scale is not None
    limit = 2 ** (int(layer.weight_format.removeprefix("int")) - 1) - 1
    assert folded.weight_codes.dtype == np.int8
    assert np.abs(folded.weight_codes.astype(int)).max() <= limit
    assert folded.weight_scale.dtype == np.float32
    assert folded.weight_scale.shape == (layer.out_channels,)
    assert (folded.weight_scale > 0).all()
    scale = folded.weight_scale.reshape(-1, *[1] * (folded.weight.ndim - 1))
    np.testing.assert_array_equal(folded.weight_codes * scale, folded.weight)


def _check_quant(quant: TensorQuant | None, format_name: str, signed: bool) -> None:
    if not is_integer(format_name):
        assert quant is None
        return
    assert quant is not None
    bits = int(format_name.removeprefix("int"))
    assert (quant.bits, quant.zero_point) == (bits, 2 ** (bits - 1) if signed else 0)
    assert quant.scale > 0


def _int8_stem(tiny_space: MBConvSpace) -> NDArray[np.uint8]:
    return tiny_space.genome({"stem.weight_format": "int8", "stem.activation_format": "int8"})


def test_a_negative_gain_flips_the_codes_and_not_the_scale(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset
) -> None:
    gain = shaken_supernet.elastic("stem").gain
    assert gain is not None
    folded = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            gain.copy_(sign * gain.abs())
        folded.append(_subnet(shaken_supernet, tiny_data, _int8_stem(tiny_space))[0].fold().layers[0])
    positive, negative = folded
    assert positive.weight_codes is not None
    assert negative.weight_codes is not None
    assert np.abs(positive.weight_codes).max() > 64
    np.testing.assert_array_equal(negative.weight_codes, -positive.weight_codes)
    assert positive.weight_scale is not None
    assert negative.weight_scale is not None
    np.testing.assert_array_equal(negative.weight_scale, positive.weight_scale)


def test_a_dead_channel_has_a_positive_scale_and_its_bias(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset
) -> None:
    stem = shaken_supernet.elastic("stem")
    assert stem.gain is not None
    with torch.no_grad():
        stem.gain[2] = 0.0
    subnet, images = _subnet(shaken_supernet, tiny_data, _int8_stem(tiny_space))
    folded = subnet.fold().layers[0]
    assert folded.weight_scale is not None
    assert folded.weight_scale[2] > 0
    assert np.abs(folded.weight[2]).max() < 1e-30
    assert folded.bias[2] == stem.bias.detach().numpy()[2]
    with torch.no_grad():
        expected = subnet(images).numpy()
    found = run_folded(subnet.fold(), images.double().numpy())
    assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.97


def test_the_shortcut_leaves_after_the_first_quantizer(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset
) -> None:
    """A network with a 4-bit shortcut answers otherwise than one with a real one."""
    genome = tiny_space.genome(
        {"stage0.depth": 2, "stage0.block1.pointwise.activation_format": "int4", "stage0.block1.width": 12}
    )
    subnet, images = _subnet(shaken_supernet, tiny_data, genome)
    with torch.no_grad():
        expected = subnet(images).numpy()
    network, x = subnet.fold(), images.double().numpy()
    assert np.median(np.abs(run_folded(network, x) - expected)) < 1e-5
    assert np.median(np.abs(run_folded(network, x, real_shortcut=True) - expected)) > 1e-3
