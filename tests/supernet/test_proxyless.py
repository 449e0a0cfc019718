"""APQ's space: its geometry against the published one, and a cut-down copy counted, built, run and exported."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch import Tensor

from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import InvalidGenomeError, UnsupportedError
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.proxyless import kernel_rules, proxyless
from bitfront.supernet.subnet import Subnet
from bitfront.supernet.training import Trainer, TrainingSettings

DIGITS_HASH = "b20c4ce20eb32768d7f077a726e2c51016760122a98a84fc89aaa503ca2db0d2"
LIKELY = 1e-3  # a p value below this, with a fixed seed, is taken as a bias

# Per stage: input channels, output channels, stride, side of its first block's input.
STAGES = (
    (16, 24, 2, 112),
    (24, 40, 2, 56),
    (40, 80, 2, 28),
    (80, 96, 1, 14),
    (96, 192, 2, 14),
    (192, 320, 1, 7),
)


def cut_down(**changed: object) -> MBConvSpace:
    """The same kind of space with few enough networks to list them all."""
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


# -- geometry ----------------------------------------------------------------------------------------------


class TestGeometry:
    def test_stages(self) -> None:
        space = proxyless()
        deepest = {block.name: block for block in space.blocks(space.extremes()[1])}
        assert len(deepest) == 21 + 2
        for s, (channels, out, stride, size) in enumerate(STAGES):
            for b in range(4 if s < 5 else 1):
                expand, depthwise, project = deepest[f"stage{s}.block{b}"].layers
                assert expand.in_channels == (channels if b == 0 else out)
                assert project.out_channels == out
                assert depthwise.stride == (stride if b == 0 else 1)
                assert expand.in_size == depthwise.in_size == (size if b == 0 else size // stride)
                assert project.in_size == size // stride

    def test_ends(self) -> None:
        space = proxyless()
        blocks = space.blocks(space.extremes()[0])
        shapes = [
            (layer.op, layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.in_size)
            for block in (blocks[0], blocks[-1])
            for layer in block.layers
        ]
        assert shapes == [
            ("conv", 3, 32, 3, 2, 224),
            ("depthwise", 32, 32, 3, 1, 112),
            ("pointwise", 32, 16, 1, 1, 112),
            ("pointwise", 320, 1280, 1, 1, 7),
            ("linear", 1280, 1000, 1, 1, 1),
        ]
        for genome in space.sample(20, np.random.default_rng(0)):
            for block in (space.blocks(genome)[0], space.blocks(genome)[-1]):
                assert {(x.weight_format, x.activation_format) for x in block.layers} == {("int8", "int8")}

    def test_choices(self) -> None:
        space = proxyless()
        for s, (channels, out, *_) in enumerate(STAGES):
            assert space.allowed_choices(f"stage{s}.depth") == ((2, 3, 4) if s < 5 else (1,))
            for b in range(4 if s < 5 else 1):
                name = f"stage{s}.block{b}"
                given = channels if b == 0 else out
                assert space.allowed_choices(f"{name}.width") == tuple(range(4 * given, 6 * given + 1, 8))
                assert space.allowed_choices(f"{name}.kernel") == (3, 5, 7)
                for part in ("pointwise", "depthwise"):
                    for kind in ("weight_format", "activation_format"):
                        assert space.allowed_choices(f"{name}.{part}.{kind}") == ("int8", "int6", "int4")
        assert [len(space.allowed_choices(f"stage{s}.block0.width")) for s in range(6)] == [5, 7, 11, 21, 25, 49]

    def test_size(self) -> None:
        """Per block: widths x (9 kernels and depthwise activations less one) x 27 other formats."""
        widths = [(len(range(4 * a, 6 * a + 1, 8)), len(range(4 * b, 6 * b + 1, 8))) for a, b, *_ in STAGES]
        *searched, (last, _) = [(8 * 27 * first, 8 * 27 * later) for first, later in widths]
        ways = [first * later * (1 + later + later**2) for first, later in searched]
        assert proxyless().size() == math.prod(ways) * last
        assert math.log10(proxyless().size()) == pytest.approx(74.91, abs=0.01)

    def test_a_first_block_ends_without_relu(self) -> None:
        space = proxyless()
        stem, first, *_ = space.blocks(space.extremes()[0])
        assert [layer.relu for layer in stem.layers] == [True, True, False]
        assert [layer.signed_input for layer in stem.layers] == [True, False, False]
        assert first.layers[0].signed_input

    def test_a_kernel_of_7_with_4_bit_depthwise_activations_is_refused(self) -> None:
        space = proxyless()
        name = "stage2.block3"
        choices = {f"{name}.kernel": 7, "stage2.depth": 4}
        with pytest.raises(InvalidGenomeError, match=r"stage2\.block3\.kernel"):
            space.genome({**choices, f"{name}.depthwise.activation_format": "int4"})
        space.genome({**choices, f"{name}.depthwise.activation_format": "int6"})
        assert all(map(is_allowed, map(space.blocks, space.sample(200, np.random.default_rng(0), "sizes"))))


def test_frames_without_the_new_fields_keep_their_hash() -> None:
    digits = SPACES.get("digits")()
    assert digits.hash() == DIGITS_HASH
    assert not {"first_block_channels", "classifier_formats"} & digits.config.keys()
    assert all("first_widths" not in stage for stage in digits.config["stages"])


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
