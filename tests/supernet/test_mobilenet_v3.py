"""Once-for-All's MobileNetV3 space: counts of its published package, geometry by hand, squeeze and excitation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from bitfront.supernet.layers import Block
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.spaces.mobilenet_v3 import mobilenet_v3, mobilenet_v3_cifar

SPACE = mobilenet_v3()

# Weights of convolutions and linear layers, biases not counted, and their MACs: what `OFAMobileNetV3` of ofa
# 0.1.0.post202307202001 (PyPI) builds by set_active_subnet(ks=3, e=3, d=2) at 128 pixels and (7, 6, 4) at 224.
PUBLISHED = {
    1.0: ((3_395_856, 41_476_224), (7_613_280, 566_170_656)),
    1.2: ((4_584_504, 65_536_896), (10_639_344, 843_101_040)),
}


@pytest.mark.parametrize("multiplier", PUBLISHED)
def test_smallest_and_largest_are_the_published_ones(multiplier: float) -> None:
    space = mobilenet_v3(width_multiplier=multiplier)
    for genome, (weights, macs) in zip(space.extremes(), PUBLISHED[multiplier], strict=True):
        layers = space.layers(genome)
        assert sum(layer.weights for layer in layers) == weights
        assert sum(layer.macs for layer in layers) == macs


def largest() -> tuple[Block, ...]:
    return SPACE.blocks(SPACE.extremes()[1])


def test_channels_sizes_activations_and_gates_of_every_stage() -> None:
    stem, first, *searched, head = largest()
    assert [(stem.kind, first.kind, head.kind)] == [("stem", "mbconv", "head")]
    assert (stem.layers[0].out_channels, stem.layers[0].stride, stem.layers[0].act) == (16, 2, "hswish")
    assert [layer.op for layer in first.layers] == ["depthwise", "pointwise"]
    assert first.residual
    outs, sizes = (24, 40, 80, 112, 160), (56, 28, 14, 14, 7)
    for s, blocks in enumerate(searched[i : i + 4] for i in range(0, 20, 4)):
        for block in blocks:
            assert (block.tail.out_channels, block.out_size) == (outs[s], sizes[s])
            assert {block.layers[0].act, block.layers[1].act} == {"relu" if s < 2 else "hswish"}
            assert len(block.layers) == (5 if s in (1, 3, 4) else 3)
            assert block.residual == (block is not blocks[0])
    names = [(layer.name, layer.op, layer.out_channels, layer.act) for layer in head.layers]
    assert names == [
        ("head.mix", "pointwise", 960, "hswish"),
        ("head.hidden", "linear", 1280, "hswish"),
        ("head.classifier", "linear", 1000, "none"),
    ]


def test_hidden_channels_are_three_four_or_six_times_the_input() -> None:
    for place in SPACE.places:
        widths = SPACE.genes[SPACE.position[f"{place.name}.width"]].choices
        assert widths == tuple(place.in_channels * expansion for expansion in (3, 4, 6))


def test_squeezed_channels_are_a_quarter_of_the_hidden_ones_and_divisible_by_8() -> None:
    block = next(block for block in largest() if block.name == "stage1.block0")  # 24 channels, six times
    expand, depthwise, squeeze, excite, project = block.layers
    assert (squeeze.in_channels, squeeze.out_channels, squeeze.in_size) == (144, 40, 1)
    assert (excite.in_channels, excite.out_channels, excite.in_size) == (40, 144, 1)
    assert (squeeze.source, squeeze.gate, squeeze.act) == ("pooled", False, "relu")
    assert (excite.source, excite.gate, excite.act) == ("chain", True, "hsigmoid")
    assert not squeeze.has_batch_norm
    assert not excite.has_batch_norm
    assert project.in_size == depthwise.out_size == expand.in_size // 2


@pytest.mark.parametrize(("weight", "activation"), list(product(("fp32", "bf16", "int8", "int4"), repeat=2)))
def test_gates_are_as_wide_as_the_depthwise_convolution_and_never_below_8_bits(
    weight: str, activation: str
) -> None:
    name = "stage1.block0"
    genome = SPACE.genome(
        {f"{name}.depthwise.weight_format": weight, f"{name}.depthwise.activation_format": activation}
    )
    block = next(block for block in SPACE.blocks(genome) if block.name == name)
    formats = {(layer.weight_format, layer.activation_format) for layer in block.layers if ".se." in layer.name}
    integer = weight.startswith("int") and activation.startswith("int")
    expected = "int8" if integer else weight if weight == activation else "fp32"
    assert formats == {(expected, expected)}


def test_only_what_follows_a_relu_is_unsigned() -> None:
    rng = np.random.default_rng(0)
    for space in (SPACE, mobilenet_v3_cifar()):
        for genome in space.sample(20, rng):
            blocks = space.blocks(genome)
            for block in blocks:
                for before, layer in zip(block.layers, block.layers[1:], strict=False):
                    gated = block.layers[1].act if before.gate else before.act
                    assert layer.signed_input == (gated != "relu")
            assert all(block.layers[0].signed_input for block in blocks)


class TestCifar:
    def test_32_pixels_become_8(self) -> None:
        space = mobilenet_v3_cifar()
        sizes = [block.out_size for block in space.blocks(space.extremes()[1])]
        assert sizes == [32, 32, *[32] * 4, *[16] * 4, *[8] * 12, 1]

    def test_it_is_of_cifars_size(self) -> None:
        space = mobilenet_v3_cifar()
        small, large = (sum(layer.macs for layer in space.layers(genome)) for genome in space.extremes())
        assert 25e6 < small < 35e6
        assert 200e6 < large < 300e6


@pytest.mark.parametrize("space", [mobilenet_v3, mobilenet_v3_cifar])
def test_options_shape_the_ends_and_the_hash(space: Any) -> None:
    other: MBConvSpace = space(classes=7, in_channels=1)
    layers = other.layers(other.extremes()[0])
    assert (layers[0].in_channels, layers[-1].out_channels) == (1, 7)
    assert len({space().hash(), other.hash(), space(width_multiplier=1.2).hash()}) == 3
    assert other.name == space().name
