"""Once-for-All's ResNet-50 space: published counts, geometry by hand, a small copy by brute force."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from bitfront.supernet.errors import InvalidSpaceError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.spaces.bottleneck import BottleneckConfig, BottleneckSpace, BottleneckStage
from bitfront.supernet.spaces.resnet50 import resnet50, resnet50_cifar

SPACE = resnet50()

# Weights of convolutions and linear layers, biases not counted, and their MACs: what `OFAResNets` of ofa
# 0.1.0.post202307202001 (PyPI) builds by set_active_subnet(d=0, e=0.2, w=0) at 128 pixels and (2, 0.35, 2) at 224.
PUBLISHED = ((6_515_464, 315_079_552), (48_037_856, 7_491_643_904))


def test_smallest_and_largest_are_the_published_ones() -> None:
    for genome, (weights, macs) in zip(SPACE.extremes(), PUBLISHED, strict=True):
        layers = SPACE.layers(genome)
        assert sum(layer.weights for layer in layers) == weights
        assert sum(layer.macs for layer in layers) == macs


def test_resnet_50d_is_among_its_networks() -> None:
    """He et al. 2019: three convolutions in the stem, 3, 4, 6, 3 blocks, a quarter as bottleneck; 25.6 M."""
    choices: dict[str, int | str] = {"resolution": 224, "stem.depth": 3, "stem.width": 32, "stem.out.width": 64}
    for s, (blocks, channels) in enumerate(zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True)):
        choices |= {f"stage{s}.depth": blocks, f"stage{s}.width": channels}
        choices |= {f"stage{s}.block{b}.expand_percent": 25 for b in range(blocks)}
    layers = SPACE.layers(SPACE.genome(choices))
    assert sum(layer.weights for layer in layers) == pytest.approx(25.5e6, rel=0.01)
    assert sum(layer.macs for layer in layers) == pytest.approx(4.3e9, rel=0.02)


class TestGeometry:
    def blocks(self) -> tuple[Block, ...]:
        return SPACE.blocks(SPACE.extremes()[1])

    def test_stem(self) -> None:
        stem, deep, out, *_ = self.blocks()
        assert [block.kind for block in (stem, deep, out)] == ["stem", "conv", "conv"]
        assert [block.layers[0].out_channels for block in (stem, deep, out)] == [32, 32, 64]
        assert [block.out_size for block in (stem, deep, out)] == [112, 112, 56]
        assert (deep.residual, deep.sum_act, deep.layers[0].act) == (True, "none", "relu")
        assert (out.residual, out.max_pool) == (False, True)

    def test_blocks(self) -> None:
        _, _, _, *blocks, head = self.blocks()
        assert [block.kind for block in (*blocks, head)] == [*["bottleneck"] * 18, "head"]
        outs = [*[256] * 4, *[512] * 4, *[1024] * 6, *[2048] * 4]
        sizes = [*[56] * 4, *[28] * 4, *[14] * 6, *[7] * 4]
        for block, out, size in zip(blocks, outs, sizes, strict=True):
            assert (block.tail.out_channels, block.out_size) == (out, size)
            assert (block.residual, block.sum_act) == (True, "relu")
            assert [layer.act for layer in block.chain] == ["relu", "relu", "none"]
            assert (block.shortcut is not None) == block.name.endswith("block0")
        shortcut = blocks[4].shortcut
        assert shortcut is not None
        assert (shortcut.in_channels, shortcut.out_channels, shortcut.in_size, shortcut.stride) == (
            256,
            512,
            28,
            1,
        )

    def test_a_stages_channels_are_its_blocks_in_and_out_and_the_next_ones_in(self) -> None:
        genome = SPACE.genome({"stage0.width": 208, "stage1.width": 408, "stage0.depth": 3})
        blocks = {block.name: block for block in SPACE.blocks(genome)}
        assert blocks["stage0.block0"].layers[0].in_channels == 40  # the stem's smallest
        for name in ("stage0.block1", "stage0.block2", "stage1.block0"):
            assert blocks[name].layers[0].in_channels == 208
        assert blocks["stage1.block0"].tail.out_channels == 408

    def test_only_the_stem_reads_signed_numbers(self) -> None:
        for genome in SPACE.sample(10, np.random.default_rng(0)):
            assert [layer.name for layer in SPACE.layers(genome) if layer.signed_input] == ["stem"]


def cut_down() -> BottleneckSpace:
    """Two stages of one or two blocks, few formats: some thousand networks."""
    frame = BottleneckConfig(
        in_channels=1,
        classes=2,
        stem_channels=(8, 16),
        stem_out_channels=(16, 24),
        stem_stride=1,
        stem_pool=True,
        stages=(BottleneckStage((32, 64), 1, (1, 2)), BottleneckStage((64,), 2, (1,))),
        expand_percents=(25, 50),
        resolutions=(8,),
        weight_formats=("int8", "int4"),
        activation_formats=("int8",),
        end_formats=("int8",),
    )
    return BottleneckSpace("cut down", frame)


def every_network(space: BottleneckSpace) -> tuple[Genomes, list[tuple[Block, ...]]]:
    genomes = np.array(list(itertools.product(*map(range, space.cardinalities))), dtype=np.uint8)
    return genomes, [space.blocks(genome) for genome in genomes]


class TestBruteForce:
    def test_size_and_canonical_form_count_the_different_networks(self) -> None:
        space = cut_down()
        genomes, networks = every_network(space)
        canonical = space.canonical(genomes)
        assert space.size() == len(set(networks)) == len({row.tobytes() for row in canonical})
        encoded = space.encode(np.unique(canonical, axis=0))
        assert len({row.tobytes() for row in encoded}) == space.size()

    def test_points_are_drawn_uniformly(self) -> None:
        space = cut_down()
        points = {row.tobytes() for row in space.canonical(every_network(space)[0])}
        drawn = Counter(map(bytes, space.sample(20 * len(points), np.random.default_rng(0), "points")))
        assert set(drawn) <= points
        assert chisquare([drawn[point] for point in points]).pvalue > 1e-3


def test_the_cifar_variant_keeps_the_size_in_the_stem() -> None:
    space = resnet50_cifar()
    blocks = space.blocks(space.extremes()[1])
    assert [block.out_size for block in blocks[:4]] == [32] * 4
    assert [block.out_size for block in blocks[-3:-1]] == [4, 4]
    assert not any(block.max_pool for block in blocks)


@pytest.mark.parametrize("space", [resnet50, resnet50_cifar])
def test_options_shape_the_ends(space: Any) -> None:
    layers = space(classes=7, in_channels=1).layers(space().extremes()[0])
    assert (layers[0].in_channels, layers[-1].out_channels) == (1, 7)


def test_percentages_that_round_to_one_width_are_refused() -> None:
    """Two genomes would build one network."""
    with pytest.raises(InvalidSpaceError, match=r"expand_percents.*20 and 25 .* 8 channels"):
        BottleneckSpace("double", replace(cut_down().frame, expand_percents=(20, 25)))
