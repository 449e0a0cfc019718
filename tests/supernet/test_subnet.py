"""A subnet cut out of a supernet computes the same, bit for bit, and shares nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import Statistics, calibrate
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.genes import Choice, GeneKind
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.policy import is_integer, quantized_outputs
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet


def _cut(
    supernet: Supernet, dataset: Dataset, genome: NDArray[np.uint8]
) -> tuple[tuple[Block, ...], Statistics, Tensor]:
    """(blocks, statistics, validation images at the right size)."""
    blocks = supernet.space.blocks(genome)
    size = blocks[0].layers[0].in_size
    statistics = calibrate(supernet, blocks, resize(dataset.tensor(dataset.train.images), size))
    return blocks, statistics, resize(dataset.tensor(dataset.validation.images), size)


def test_a_subnet_equals_the_supernet_bit_for_bit(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset, rng: np.random.Generator
) -> None:
    genomes = np.concatenate([tiny_space.extremes(), tiny_space.sample(60, rng)])
    for genome in genomes:
        blocks, statistics, images = _cut(shaken_supernet, tiny_data, genome)
        subnet = Subnet(shaken_supernet, blocks, statistics)
        with torch.no_grad():
            expected = shaken_supernet(images, blocks, statistics.normalise)
            assert torch.equal(subnet(images), expected), tiny_space.decode(genome)


@pytest.mark.parametrize("resolution", [8, 12])
@pytest.mark.parametrize("weight_format", ["fp32", "int8", "int6", "int4"])
@pytest.mark.parametrize("activation_format", ["fp32", "int8", "int6", "int4"])
def test_it_does_in_every_format_and_resolution(
    tiny_space: MBConvSpace,
    shaken_supernet: Supernet,
    tiny_data: Dataset,
    weight_format: str,
    activation_format: str,
    resolution: int,
) -> None:
    choices: dict[GeneKind, Choice] = {
        "resolution": resolution,
        "weight_format": weight_format,
        "activation_format": activation_format,
    }
    for genome in tiny_space.assign(tiny_space.extremes(), choices):
        blocks, statistics, images = _cut(shaken_supernet, tiny_data, genome)
        formats = {(layer.weight_format, layer.activation_format) for layer in blocks[1].layers}
        assert (blocks[0].layers[0].in_size, formats) == (resolution, {(weight_format, activation_format)})
        with torch.no_grad():
            expected = shaken_supernet(images, blocks, statistics.normalise)
            assert torch.equal(Subnet(shaken_supernet, blocks, statistics)(images), expected)


@pytest.fixture
def quantized(tiny_space: MBConvSpace) -> NDArray[np.uint8]:
    """A network with all kinds of tensors: integer weights, inputs and outputs."""
    genome = tiny_space.assign(tiny_space.extremes()[1:], {"weight_format": "int4", "activation_format": "int8"})
    return tiny_space.genome(tiny_space.decode(genome[0]) | {"stage0.block0.width": 8})


def test_a_subnet_shares_nothing_with_the_supernet(
    shaken_supernet: Supernet, tiny_data: Dataset, quantized: NDArray[np.uint8]
) -> None:
    blocks, statistics, images = _cut(shaken_supernet, tiny_data, quantized)
    subnet = Subnet(shaken_supernet, blocks, statistics)
    with torch.no_grad():
        before = subnet(images)
        for parameter in shaken_supernet.parameters():
            parameter.zero_()
        for mean, variance in statistics.moments.values():
            mean.zero_()
            variance.zero_()
        assert torch.equal(subnet(images), before)


def test_a_subnet_holds_what_its_policy_needs_and_no_more(
    shaken_supernet: Supernet, tiny_data: Dataset, rng: np.random.Generator
) -> None:
    for genome in shaken_supernet.space.sample(20, rng):
        blocks, statistics, _ = _cut(shaken_supernet, tiny_data, genome)
        tensors = Subnet(shaken_supernet, blocks, statistics).state_dict()
        outputs = quantized_outputs(blocks)
        expected: dict[str, tuple[int, ...]] = {}
        for layer in (layer for block in blocks for layer in block.layers):
            key = f"parts.{layer.name.replace('.', '/')}"
            shape = (layer.out_channels, layer.in_channels // layer.groups)
            expected[f"{key}.weight"] = shape if layer.op == "linear" else (*shape, layer.kernel, layer.kernel)
            expected[f"{key}.bias"] = (layer.out_channels,)
            if layer.op != "linear":
                expected |= {f"{key}.{part}": (layer.out_channels,) for part in ("gain", "mean", "variance")}
            if is_integer(layer.weight_format):
                expected[f"{key}.weight_scale"] = (layer.out_channels, *[1] * (1 if layer.op == "linear" else 3))
            if is_integer(layer.activation_format):
                expected[f"{key}.input_scale"] = ()
            if layer.name in outputs:
                expected[f"{key}.output_scale"] = ()
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected


def test_weights_survive_a_file(
    shaken_supernet: Supernet,
    tiny_data: Dataset,
    quantized: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    blocks, statistics, images = _cut(shaken_supernet, tiny_data, quantized)
    subnet = Subnet(shaken_supernet, blocks, statistics)
    save_tensors(tmp_path / "subnet", subnet.state_dict(), {})
    other = Subnet(Supernet(shaken_supernet.space, seed=99), blocks, statistics)
    with torch.no_grad():
        assert not torch.equal(other(images), subnet(images))
        other.load_state_dict(load_tensors(tmp_path / "subnet")[0])
        assert torch.equal(other(images), subnet(images))


def test_a_subnet_can_be_fine_tuned(
    shaken_supernet: Supernet, tiny_data: Dataset, quantized: NDArray[np.uint8]
) -> None:
    blocks, statistics, images = _cut(shaken_supernet, tiny_data, quantized)
    subnet = Subnet(shaken_supernet, blocks, statistics)
    labels = torch.from_numpy(tiny_data.validation.labels)
    optimizer = torch.optim.Adam(subnet.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(subnet(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.93 * losses[0]
