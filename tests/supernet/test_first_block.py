"""Spaces whose stem goes on with a block, in integers alone: counted, built, run and exported."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch import Tensor

from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.proxyless import kernel_rules
from bitfront.supernet.subnet import Subnet
from bitfront.supernet.training import Trainer, TrainingSettings

LIKELY = 1e-3  # a p value below this, with a fixed seed, is taken as a bias


def cut_down(**changed: object) -> MBConvSpace:
    """The form of `proxyless` with few enough networks to list them all."""
    stages = (
        StageConfig(out_channels=6, stride=2, depths=(1, 2), widths=(8,), kernels=(3, 7), first_widths=(4, 6)),
        StageConfig(out_channels=8, stride=1, depths=(1,), widths=(12,), kernels=(3,)),
    )
    frame = MBConvConfig(
        in_channels=1,
        classes=3,
        stem_channels=8,
        stem_stride=2,
        stages=stages,
        head_channels=16,
        resolutions=(8,),
        weight_formats=("int8",),
        activation_formats=("int8", "int4"),
        end_formats=("int8",),
        first_block_channels=4,
    )
    frame = replace(frame, **changed)  # type: ignore[arg-type]
    return MBConvSpace("cut down", frame, tuple(kernel_rules(frame)))


def is_allowed(network: tuple[Block, ...]) -> bool:
    depthwise = [block.layers[1] for block in network if block.kind == "mbconv"]
    return not any(layer.kernel == 7 and layer.activation_format == "int4" for layer in depthwise)


@functools.cache
def every_network() -> tuple[MBConvSpace, Genomes, NDArray[np.bool_]]:
    """The cut-down space, its canonical genomes, and which of them the rules allow."""
    space = cut_down()
    product = np.array(list(itertools.product(*map(range, space.cardinalities))), dtype=np.uint8)
    genomes = np.unique(space.canonical(product), axis=0)
    return space, genomes, np.array([is_allowed(space.blocks(genome)) for genome in genomes])


def test_the_new_fields_change_the_hash() -> None:
    hashes = {cut_down(first_block_channels=channels).hash() for channels in (None, 4, 6)}
    assert len(hashes) == 3


# -- sampling ----------------------------------------------------------------------------------------------


def test_size_and_validity_are_those_of_every_network_built() -> None:
    space, genomes, allowed = every_network()
    assert space.size() == allowed.sum() < len(genomes)
    np.testing.assert_array_equal(space.valid(genomes), allowed)


def test_sampling_is_uniform_over_allowed_networks() -> None:
    space, genomes, allowed = every_network()
    place = {genome.tobytes(): i for i, genome in enumerate(genomes[allowed])}
    drawn = space.sample(12 * len(place), np.random.default_rng(0), uniform_over="points")
    counts = np.bincount([place[genome.tobytes()] for genome in drawn], minlength=len(place))
    assert chisquare(counts).pvalue > LIKELY


@pytest.mark.parametrize("uniform_over", ["genes", "sizes"])
def test_other_ways_to_sample_stay_inside_and_reach_every_block(uniform_over: str) -> None:
    space, genomes, allowed = every_network()
    drawn = space.sample(20_000, np.random.default_rng(1), uniform_over=uniform_over)  # type: ignore[arg-type]
    inside = {genome.tobytes() for genome in genomes[allowed]}
    assert {genome.tobytes() for genome in drawn} <= inside
    built = {block for genome in np.unique(drawn, axis=0) for block in space.blocks(genome)}
    assert built == {block for genome in genomes[allowed] for block in space.blocks(genome)}


# -- the supernet ------------------------------------------------------------------------------------------


@pytest.fixture
def supernet() -> Supernet:
    """A supernet whose stem has three layers, with no tensor at its neutral start."""
    supernet = Supernet(cut_down(), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for layer in supernet.elastic_layers():
            for name, bits in (("int8", 8), ("int4", 4)):
                layer.input_log_scale[name].fill_(4.0 / 2**bits).log_()
            layer.output_log_scale.fill_(8.0 / 2**8).log_()
    return supernet


def images(n: int) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def some_genomes() -> Genomes:
    return np.concatenate([cut_down().extremes(), cut_down().sample(10, np.random.default_rng(4))])


def test_the_first_block_is_built_once_and_its_kernel_is_no_choice(supernet: Supernet) -> None:
    assert supernet.elastic("stem.depthwise").kernels == (3,)
    assert supernet.elastic("stem.project").weight.shape == (4, 8, 1, 1)
    assert supernet.elastic("stage0.block0.depthwise").kernels == (7, 3)


def test_formats_of_the_classifier_alone_have_their_steps() -> None:
    space = cut_down(classifier_formats=(("int6",), ("int8",)))
    supernet = Supernet(space)
    logits = supernet(images(4), space.blocks(space.extremes()[0]))
    assert logits.shape == (4, 3)
    assert "int6" in supernet.elastic("head.classifier").weight_log_ratio


def test_a_stem_runs_its_layers_one_after_the_other(supernet: Supernet) -> None:
    """In real numbers the whole stem is what three torch modules in a row compute."""
    stem = supernet.space.blocks(supernet.space.extremes()[0])[0]
    layers = tuple(replace(x, weight_format="fp32", activation_format="fp32") for x in stem.layers)
    x = images(5)
    with torch.no_grad():
        found = supernet(x, (replace(stem, layers=layers),))
        expected = x
        for layer in layers:
            elastic = supernet.elastic(layer.name)
            assert elastic.gain is not None
            expected = torch.nn.functional.conv2d(
                expected, elastic.weight, None, layer.stride, layer.kernel // 2, 1, layer.groups
            )
            expected = torch.nn.functional.batch_norm(
                expected, None, None, elastic.gain, elastic.bias, training=True
            )
            expected = expected.relu() if layer.relu else expected
    torch.testing.assert_close(found, expected)


def test_an_extracted_network_is_the_supernets_bit_for_bit(supernet: Supernet) -> None:
    for genome in some_genomes():
        blocks = supernet.space.blocks(genome)
        statistics = calibrate(supernet, blocks, images(64))
        with torch.no_grad():
            expected = supernet(images(16), blocks, statistics.normalise)
            assert torch.equal(Subnet(supernet, blocks, statistics)(images(16)), expected)


def test_an_exported_network_computes_the_same(supernet: Supernet) -> None:
    """ONNX Runtime rounds ties and sums otherwise, so that single codes differ."""
    errors = []
    for genome in some_genomes():
        blocks = supernet.space.blocks(genome)
        subnet = Subnet(supernet, blocks, calibrate(supernet, blocks, images(64)))
        with torch.no_grad():
            expected = subnet(images(32)).numpy()
        found = run_onnx(onnx_model(subnet.fold()).SerializeToString(), images(32).numpy())
        errors.append(np.abs(found - expected).mean() / expected.std())
    assert np.median(errors) < 0.01
    assert max(errors) < 0.05


def test_a_space_without_real_networks_can_not_be_trained(supernet: Supernet, tiny_data: Dataset) -> None:
    with pytest.raises(UnsupportedError, match=r"'cut down' can not be trained.*add 'fp32'"):
        Trainer(supernet, tiny_data, TrainingSettings(), seed=0)
