"""Squeeze and excitation, h-swish, bottlenecks and deep stems, against plain torch.nn networks written here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitfront.supernet.calibration import calibrate, initialise_scales
from bitfront.supernet.channel_groups import ChannelGroup, channel_groups
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.policy import quantized_outputs
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet


@pytest.fixture(params=["gated_space", "bottleneck_space"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    found: SearchSpace = request.getfixturevalue(request.param)
    return found


def shaken(space: SearchSpace, seed: int = 3) -> Supernet:
    """A supernet without a tensor at its neutral start; some gains are negative."""
    supernet = Supernet(space, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for layer in supernet.elastic_layers():
            if layer.gain is not None:
                layer.gain.copy_(0.5 + torch.randn(layer.gain.shape, generator=generator))
            for name, bits in (("int8", 8), ("int6", 6), ("int4", 4)):
                layer.input_log_scale[name].fill_(4.0 / 2**bits).log_()
            layer.output_log_scale.fill_(8.0 / 2**8).log_()
    return supernet


def images(n: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def size_of(blocks: Sequence[Block]) -> int:
    return blocks[0].layers[0].in_size


def float_genomes(space: SearchSpace, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    genomes = np.concatenate([space.extremes(), space.sample(n, rng)])
    return space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})


# -- plain networks ---------------------------------------------------------------------------------------


class SqueezeExcite(nn.Module):
    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(1), reduce, nn.ReLU(), expand, nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x * self.net(x)
        return result


class Sum(nn.Module):
    def __init__(self, main: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut, self.after = main, shortcut, after

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.after(self.main(x) + self.shortcut(x))
        return result


class AverageSquares(nn.Module):
    """Means over 2x2 pixels, written out; what sticks out at the far edges is not there."""

    def forward(self, x: Tensor) -> Tensor:
        rows = [x[:, :, i : i + 2] for i in range(0, x.shape[2], 2)]
        means = [[row[..., j : j + 2].mean((2, 3)) for j in range(0, x.shape[3], 2)] for row in rows]
        return torch.stack([torch.stack(row, dim=-1) for row in means], dim=-2)


ACTS = {"none": nn.Identity, "relu": nn.ReLU, "hswish": nn.Hardswish}


def weighted(supernet: Supernet, layer: Layer) -> nn.Module:
    """A convolution without batch norm, or a linear layer, with the supernet's weights for it."""
    params = supernet.params(layer, False)
    module: nn.Module
    if layer.op == "linear":
        module = nn.Linear(layer.in_channels, layer.out_channels)
    else:
        shape = (layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.kernel // 2)
        module = nn.Conv2d(*shape, groups=layer.groups, bias=not layer.has_batch_norm)
    with torch.no_grad():
        module.weight.copy_(params.weight)
        if not layer.has_batch_norm:
            assert module.bias is not None
            module.bias.copy_(params.bias)
    return module


def normalised(supernet: Supernet, layer: Layer) -> nn.Module:
    """Convolution, batch norm by the batch, activation function."""
    params = supernet.params(layer, False)
    norm = nn.BatchNorm2d(layer.out_channels)
    assert params.gain is not None
    with torch.no_grad():
        norm.weight.copy_(params.gain)
        norm.bias.copy_(params.bias)
    return nn.Sequential(weighted(supernet, layer), norm, ACTS[layer.act]())


def plain_block(supernet: Supernet, block: Block, is_last_map: bool) -> nn.Module:
    parts: list[nn.Module] = []
    shortcut: nn.Module = nn.Identity()
    named = {layer.name.rpartition(".")[2]: layer for layer in block.layers}
    for layer in block.layers:
        if layer.op == "linear":
            if is_last_map:
                parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
                is_last_map = False
            parts += [weighted(supernet, layer), ACTS[layer.act]()]
        elif layer.name.endswith("se.reduce"):
            expand = next(one for one in block.layers if one.name.endswith("se.expand"))
            parts.append(SqueezeExcite(weighted(supernet, layer), weighted(supernet, expand)))
        elif layer.name.endswith(".shortcut"):
            averaging = AverageSquares() if named["spatial"].stride == 2 else nn.Identity()
            shortcut = nn.Sequential(averaging, normalised(supernet, layer))
        elif not layer.name.endswith("se.expand"):
            parts.append(normalised(supernet, layer))
    main: nn.Module = nn.Sequential(*parts)
    if block.residual:
        main = Sum(main, shortcut, ACTS[block.sum_act]())
    return nn.Sequential(main, nn.MaxPool2d(3, 2, 1)) if block.max_pool else main


def plain(supernet: Supernet, blocks: Sequence[Block]) -> nn.Module:
    return nn.Sequential(*(plain_block(supernet, block, block.kind == "head") for block in blocks)).train()


def test_a_float_network_is_the_plain_torch_network(space: SearchSpace, rng: np.random.Generator) -> None:
    supernet = shaken(space)
    for genome in float_genomes(space, 12, rng):
        blocks = space.blocks(genome)
        x = images(8, size_of(blocks))
        with torch.no_grad():
            expected = plain(supernet, blocks)(x)
            torch.testing.assert_close(supernet(x, blocks), expected, rtol=1e-3, atol=1e-3)


def test_the_spaces_here_have_every_kind_of_operator(
    gated_space: MBConvSpace, bottleneck_space: BottleneckSpace
) -> None:
    gated = gated_space.largest_blocks
    layers = [layer for block in gated for layer in block.layers]
    assert {layer.act for layer in layers} == {"none", "relu", "hswish", "hsigmoid"}
    assert any(layer.source == "pooled" for layer in layers)
    wide = bottleneck_space.largest_blocks
    assert {block.kind for block in wide} == {"stem", "conv", "bottleneck", "head"}
    assert {block.stride for block in wide if block.shortcut is not None} == {1, 2}
    odd = {block.shortcut.in_size for block in wide if block.shortcut is not None}
    assert any(block.layers[0].in_size % 2 for block in wide if block.stride == 2)
    assert odd
    assert any(block.max_pool for block in wide)


# -- subnets -----------------------------------------------------------------------------------------------


def test_a_subnet_equals_the_supernet_bit_for_bit(space: SearchSpace, rng: np.random.Generator) -> None:
    supernet = shaken(space)
    for genome in np.concatenate([space.extremes(), space.sample(40, rng)]):
        blocks = space.blocks(genome)
        statistics = calibrate(supernet, blocks, images(32, size_of(blocks), 1))
        subnet = Subnet(supernet, blocks, statistics)
        x = images(16, size_of(blocks), 2)
        with torch.no_grad():
            assert torch.equal(subnet(x), supernet(x, blocks, statistics.normalise)), space.decode(genome)


def test_only_maps_are_normalised(space: SearchSpace) -> None:
    supernet = Supernet(space)
    for elastic in supernet.elastic_layers():
        layer = elastic.largest
        bare = layer.op == "linear" or ".se." in layer.name
        assert (elastic.gain is None) == bare, layer.name
    blocks = space.largest_blocks
    moments = calibrate(supernet, blocks, images(8, size_of(blocks))).moments
    assert moments.keys() == {
        elastic.largest.name for elastic in supernet.elastic_layers() if elastic.gain is not None
    }


# -- sorting channels --------------------------------------------------------------------------------------


def test_sorting_leaves_networks_of_full_width_unchanged(space: SearchSpace) -> None:
    supernet = shaken(space)
    networks = [
        space.blocks(space.assign(space.extremes()[1:], {"kernel": kernel, "weight_format": policy})[0])
        for kernel in (3, 5)
        for policy in ("fp32", "int8", "int4")
    ]
    x = images(6, size_of(networks[0]))
    with torch.no_grad():
        before = [supernet(x, blocks) for blocks in networks]
        weights = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        supernet.sort_channels()
        for blocks, expected in zip(networks, before, strict=True):
            torch.testing.assert_close(supernet(x, blocks), expected, rtol=1e-3, atol=1e-3)
    for group in space.hidden_channels:
        importance = supernet.elastic(group.consumers[0]).weight.detach().abs().sum((0, 2, 3))
        torch.testing.assert_close(importance, importance.sort(descending=True).values)
        for name in (*group.producers, *group.consumers):
            assert not torch.equal(
                supernet.elastic(name).weight, weights[f"layers.{name.replace('.', '/')}.weight"]
            )


def test_hidden_channels_of_a_gated_block(gated_space: MBConvSpace) -> None:
    block = next(block for block in gated_space.largest_blocks if block.name == "stage0.block0")
    s = "stage0.block0"
    assert set(channel_groups(block)) == {
        ChannelGroup((f"{s}.expand", f"{s}.depthwise", f"{s}.se.expand"), (f"{s}.project", f"{s}.se.reduce")),
        ChannelGroup((f"{s}.se.reduce",), (f"{s}.se.expand",)),
    }


def test_hidden_channels_of_a_bottleneck(bottleneck_space: BottleneckSpace) -> None:
    s = "stage1.block0"
    block = next(block for block in bottleneck_space.largest_blocks if block.name == s)
    assert channel_groups(block) == (
        ChannelGroup((f"{s}.reduce",), (f"{s}.spatial",)),
        ChannelGroup((f"{s}.spatial",), (f"{s}.restore",)),
    )


def test_fixed_widths_are_not_sorted(gated_space: MBConvSpace) -> None:
    sorted_layers = {
        name for group in gated_space.hidden_channels for name in (*group.producers, *group.consumers)
    }
    assert not any(name.startswith(("stem", "first", "head")) for name in sorted_layers)


# -- what a space says of itself ---------------------------------------------------------------------------


def test_every_layer_of_every_network_fits_the_largest_of_its_name(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    supernet = Supernet(space)
    for genome in space.sample(60, rng):
        for layer in space.layers(genome):
            largest = supernet.elastic(layer.name).largest
            for size in ("in_channels", "out_channels", "kernel", "in_size"):
                assert getattr(layer, size) <= getattr(largest, size)
            assert layer.kernel in space.kernels_of(layer.name)
            assert {layer.weight_format, layer.activation_format} <= set(space.formats)


def test_kernels_are_those_of_the_genes(gated_space: MBConvSpace) -> None:
    assert gated_space.kernels_of("stage0.block1.depthwise") == (3, 5, 7)
    assert gated_space.kernels_of("stage1.block0.depthwise") == (3, 5)
    assert gated_space.kernels_of("first.depthwise") == (3,)
    assert gated_space.kernels_of("stage0.block1.se.reduce") == (1,)
    with pytest.raises(UnknownNameError, match=r"stage9\.block1\.depthwise"):
        gated_space.kernels_of("stage9.block1.depthwise")


def test_restrictions_do_not_change_what_is_built(space: SearchSpace) -> None:
    gene = next(gene for gene in space.genes if gene.kind == "width")
    narrow = space.restrict({gene.name: gene.choices[:1]})
    whole, small = Supernet(space).state_dict(), Supernet(narrow).state_dict()
    assert {k: v.shape for k, v in whole.items()} == {k: v.shape for k, v in small.items()}


# -- step sizes --------------------------------------------------------------------------------------------


def test_all_steps_that_are_used_are_set_and_learned(space: SearchSpace) -> None:
    supernet = Supernet(space, 1)
    largest = space.blocks(space.extremes()[1])
    initialise_scales(supernet, [largest], [images(32, size_of(largest))])
    genome = space.assign(space.extremes()[1:], {"weight_format": "int8", "activation_format": "int8"})[0]
    blocks = space.blocks(genome)
    supernet(images(16, size_of(blocks)), blocks).pow(2).sum().backward()
    shared = {block.shortcut.name for block in blocks if block.shortcut is not None and block.stride == 1}
    assert bool(shared) == any(block.kind == "bottleneck" for block in blocks)
    outputs = quantized_outputs(blocks)
    for layer in space.layers(genome):
        elastic = supernet.elastic(layer.name)
        assert elastic.weight.grad is not None
        assert float(elastic.input_log_scale["int8"].detach()) != 0
        # A shortcut that averages nothing takes what the block's first layer quantized.
        assert (elastic.input_log_scale["int8"].grad is None) == (layer.name in shared)
        assert float(elastic.output_log_scale.detach()) != 0
        assert (elastic.output_log_scale.grad is not None) == (layer.name in outputs)


def test_no_code_is_spent_on_what_a_smooth_function_cuts_off(gated_space: MBConvSpace) -> None:
    supernet = Supernet(gated_space, 1)
    largest = gated_space.blocks(gated_space.extremes()[1])
    gates = [layer.name for block in largest for layer in block.layers if layer.gate]
    with torch.no_grad():
        for name in gates:
            supernet.elastic(name).bias.fill_(100.0)
    initialise_scales(supernet, [largest], [images(32, size_of(largest))])
    for name in gates:
        assert float(supernet.elastic(name).output_log_scale.detach().exp()) * 127 <= 3.0 + 1e-4


def test_fewer_bits_are_further_from_real_numbers(space: SearchSpace, rng: np.random.Generator) -> None:
    supernet = Supernet(space, 5)
    for genome in float_genomes(space, 6, rng):
        blocks = space.blocks(genome)
        x = images(64, size_of(blocks))
        initialise_scales(supernet, [blocks], [x])
        errors = []
        for bits in ("int8", "int4"):
            coded = space.assign(genome[None], {"weight_format": bits, "activation_format": bits})[0]
            with torch.no_grad():
                real, found = supernet(x, blocks), supernet(x, space.blocks(coded))
            errors.append(float((real - found).abs().mean() / real.std()))
        assert 0 < errors[0] < 0.15  # of what little answers to noise differ
        assert errors[1] > 2 * errors[0]
