"""The networks that genomes of MobileNet-style spaces build, against shapes worked out by hand and by torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig


def test_a_network_worked_out_by_hand(tiny_space: MBConvSpace) -> None:
    genome = tiny_space.genome(
        {
            "resolution": 12,
            "stage0.depth": 2,
            "stage0.block0.kernel": 5,
            "stage0.block0.width": 8,
            "stage0.block0.pointwise.weight_format": "int4",
            "stage0.block0.pointwise.activation_format": "int6",
            "stage0.block0.depthwise.weight_format": "int8",
            "stage0.block1.width": 12,
            "stage0.block1.depthwise.activation_format": "int8",
            "head.weight_format": "int8",
        }
    )
    fp, i4, i6, i8 = "fp32", "int4", "int6", "int8"
    s0b0, s0b1, s1b0 = "stage0.block0", "stage0.block1", "stage1.block0"
    expected = (
        Block("stem", "stem", (Layer("stem", "conv", 1, 4, 3, 1, 12, fp, fp, True, "relu"),)),
        Block(
            s0b0,
            "mbconv",
            (
                Layer(f"{s0b0}.expand", "pointwise", 4, 8, 1, 1, 12, i4, i6, False, "relu"),
                Layer(f"{s0b0}.depthwise", "depthwise", 8, 8, 5, 2, 12, i8, fp, False, "relu"),
                Layer(f"{s0b0}.project", "pointwise", 8, 6, 1, 1, 6, i4, i6, False, "none"),
            ),
        ),
        Block(
            s0b1,
            "mbconv",
            (
                Layer(f"{s0b1}.expand", "pointwise", 6, 12, 1, 1, 6, fp, fp, True, "relu"),
                Layer(f"{s0b1}.depthwise", "depthwise", 12, 12, 3, 1, 6, fp, i8, False, "relu"),
                Layer(f"{s0b1}.project", "pointwise", 12, 6, 1, 1, 6, fp, fp, False, "none"),
            ),
            residual=True,
        ),
        Block(
            s1b0,
            "mbconv",
            (
                Layer(f"{s1b0}.expand", "pointwise", 6, 8, 1, 1, 6, fp, fp, True, "relu"),
                Layer(f"{s1b0}.depthwise", "depthwise", 8, 8, 3, 1, 6, fp, fp, False, "relu"),
                Layer(f"{s1b0}.project", "pointwise", 8, 8, 1, 1, 6, fp, fp, False, "none"),
            ),
        ),
        Block(
            "head",
            "head",
            (
                Layer("head.mix", "pointwise", 8, 16, 1, 1, 6, i8, fp, True, "relu"),
                Layer("head.classifier", "linear", 16, 10, 1, 1, 1, i8, fp, False, "none"),
            ),
        ),
    )
    assert tiny_space.blocks(genome) == expected
    assert tiny_space.layers(genome) == tuple(layer for block in expected for layer in block.layers)


def _convolve(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight, output) of a layer as torch sees it."""
    weight = torch.zeros(layer.out_channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
    x = torch.zeros(1, layer.in_channels, layer.in_size, layer.in_size)
    return weight, F.conv2d(x, weight, None, layer.stride, layer.kernel // 2, groups=layer.groups)


@pytest.mark.parametrize("name", ["tiny", "digits", "odd"])
def test_shapes_fit_from_layer_to_layer(name: str, tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    space = {"tiny": tiny_space, "digits": digits(), "odd": _odd_space()}[name]
    for genome in space.sample(60, rng):
        *convolutions, classifier = space.layers(genome)
        assert convolutions[0].in_size == space.decode(genome)["resolution"]
        for layer, following in itertools.pairwise(convolutions):
            assert (layer.out_channels, layer.out_size) == (following.in_channels, following.in_size)
        for layer in convolutions:
            weight, output = _convolve(layer)
            assert output.shape == (1, layer.out_channels, layer.out_size, layer.out_size)
            assert layer.weights == weight.numel()
            per_pixel = layer.kernel**2 * layer.in_channels // layer.groups
            assert layer.macs == output.numel() * per_pixel
        assert (classifier.in_size, classifier.out_size) == (1, 1)
        assert classifier.macs == classifier.weights == classifier.in_channels * space.frame.classes


def _odd_space() -> MBConvSpace:
    """Strides on sizes that they do not divide."""
    stages = (
        StageConfig(out_channels=4, stride=2, depths=(2, 3), widths=(4,)),
        StageConfig(out_channels=4, stride=2, depths=(1, 4), widths=(4, 6)),
    )
    return MBConvSpace("odd", MBConvConfig(3, 5, 4, 2, stages, 8, (7, 9, 15), ("fp32",), ("fp32",), ("fp32",)))


def test_residuals_stand_where_input_and_output_are_alike(rng: np.random.Generator) -> None:
    space = _odd_space()
    for genome in space.sample(20, rng):
        for block in space.blocks(genome):
            first, last = block.layers[0], block.layers[-1]
            alike = (first.in_channels, first.in_size) == (last.out_channels, last.out_size)
            strided = any(layer.stride != 1 for layer in block.layers)
            assert block.residual == (block.kind == "mbconv" and alike and not strided)


def test_depth_genes_with_gaps_switch_several_blocks_at_once() -> None:
    space = _odd_space()
    names = [block.name for block in space.blocks(space.genome({"stage0.depth": 3, "stage1.depth": 1}))]
    assert names == ["stem", *(f"stage0.block{b}" for b in range(3)), "stage1.block0", "head"]
    deeper = space.blocks(space.genome({"stage0.depth": 2, "stage1.depth": 4}))
    assert [block.name for block in deeper[1:-1]] == [
        *(f"stage0.block{b}" for b in range(2)),
        *(f"stage1.block{b}" for b in range(4)),
    ]


def test_inputs_are_signed_exactly_where_no_relu_comes_before(
    tiny_space: MBConvSpace, rng: np.random.Generator
) -> None:
    for genome in tiny_space.sample(20, rng):
        layers = tiny_space.layers(genome)
        assert layers[0].signed_input
        for layer, following in itertools.pairwise(layers):
            assert following.signed_input == (not layer.relu)


def test_slots_rebuild_the_blocks(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    """What cost models tabulate: the choices of a slot's genes alone give the block."""
    for genome in tiny_space.sample(20, rng):
        chosen = tiny_space.decode(genome)
        built = [
            slot.build(tuple(chosen[name] for name in slot.genes))
            for slot in tiny_space.slots
            if all(name in chosen for name in slot.genes)
        ]
        assert tuple(built) == tiny_space.blocks(genome)


def test_extremes_are_the_smallest_and_the_largest(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    smallest, largest = (sum(layer.macs for layer in tiny_space.layers(g)) for g in tiny_space.extremes())
    for genome in tiny_space.sample(100, rng):
        assert smallest <= sum(layer.macs for layer in tiny_space.layers(genome)) <= largest
    assert {layer.weight_format for g in tiny_space.extremes() for layer in tiny_space.layers(g)} == {"fp32"}


def test_assign_sets_a_kind_wherever_the_gene_has_the_value(
    tiny_space: MBConvSpace, rng: np.random.Generator
) -> None:
    genomes = tiny_space.sample(30, rng)
    assigned = tiny_space.assign(genomes, {"weight_format": "int4"})
    for before, after in zip(genomes, assigned, strict=True):
        for old, new in zip(tiny_space.layers(before), tiny_space.layers(after), strict=True):
            in_block = old.name.startswith("stage")
            assert new.weight_format == ("int4" if in_block else old.weight_format)
            assert new.activation_format == old.activation_format
    np.testing.assert_array_equal(tiny_space.canonical(assigned), assigned)
