"""The supernet's forward against networks of plain torch modules, and channel sorting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace


def _images(n: int, resolution: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, resolution, resolution, generator=torch.Generator().manual_seed(seed))


def _in_fp32(space: MBConvSpace, genomes: Genomes) -> Genomes:
    return space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})


# -- a reference of plain torch modules, which knows the state dict and nothing else ------------------------


def _sliced(state: dict[str, Tensor], layer: Layer) -> Tensor:
    weight = state[f"layers.{layer.name.replace('.', '/')}.weight"]
    if layer.op == "depthwise":
        for size in (5, 3):
            matrix = state.get(f"layers.{layer.name.replace('.', '/')}.transforms.{size}")
            if matrix is not None and layer.kernel <= size < weight.shape[-1]:
                edge = (weight.shape[-1] - size) // 2
                centre = weight[:, 0, edge : edge + size, edge : edge + size].reshape(-1, size * size)
                weight = (centre @ matrix).reshape(-1, 1, size, size)
        return weight[: layer.out_channels]
    return weight[: layer.out_channels, : layer.in_channels]


def _module(state: dict[str, Tensor], layer: Layer) -> nn.Module:
    key = f"layers.{layer.name.replace('.', '/')}"
    if layer.op == "linear":
        linear = nn.Linear(layer.in_channels, layer.out_channels)
        linear.load_state_dict({"weight": _sliced(state, layer), "bias": state[f"{key}.bias"]})
        return linear
    groups = layer.in_channels if layer.op == "depthwise" else 1
    padding = (layer.kernel - 1) // 2
    convolution = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel, layer.stride, padding, groups=groups, bias=False
    )
    convolution.load_state_dict({"weight": _sliced(state, layer)})
    norm = nn.BatchNorm2d(layer.out_channels)
    norm.weight.data = state[f"{key}.gain"][: layer.out_channels]
    norm.bias.data = state[f"{key}.bias"][: layer.out_channels]
    return nn.Sequential(convolution, norm, *([nn.ReLU()] if layer.relu else []))


def reference(supernet: Supernet, blocks: Sequence[Block], x: Tensor) -> Tensor:
    state = supernet.state_dict()
    for block in blocks:
        modules = [_module(state, layer) for layer in block.layers]
        if block.kind == "head":
            x = modules[1](modules[0](x).mean((2, 3)))
        else:
            y = nn.Sequential(*modules)(x)
            x = x + y if block.residual else y
    return x


def test_real_networks_compute_what_plain_modules_compute(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, rng: np.random.Generator
) -> None:
    genomes = np.concatenate([tiny_space.extremes(), tiny_space.sample(25, rng)])
    for genome in _in_fp32(tiny_space, genomes):
        blocks = tiny_space.blocks(genome)
        x = _images(6, blocks[0].layers[0].in_size)
        with torch.no_grad():
            expected = reference(shaken_supernet, blocks, x)
            torch.testing.assert_close(shaken_supernet(x, blocks), expected, rtol=1e-4, atol=1e-4)


def test_every_gene_of_a_real_network_changes_its_answers(
    tiny_space: MBConvSpace, shaken_supernet: Supernet
) -> None:
    """No choice is lost on the way from the genome to the forward."""
    base = tiny_space.genome({gene.name: gene.choices[-1] for gene in tiny_space.genes})
    x = {size: _images(6, size) for size in (8, 12)}

    def answers(genome: NDArray[np.uint8]) -> Tensor:
        blocks = tiny_space.blocks(genome)
        with torch.no_grad():
            result: Tensor = shaken_supernet(x[blocks[0].layers[0].in_size], blocks)
        return result

    first = answers(base)
    for i, gene in enumerate(tiny_space.genes):
        other = base.copy()
        other[i] = 0
        assert not torch.equal(answers(tiny_space.canonical(other[None])[0]), first), gene.name


def test_every_network_runs_in_every_policy(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, rng: np.random.Generator
) -> None:
    for genome in tiny_space.sample(80, rng):
        blocks = tiny_space.blocks(genome)
        logits = shaken_supernet(_images(4, blocks[0].layers[0].in_size), blocks)
        assert logits.shape == (4, 10)
        assert bool(torch.isfinite(logits).all())


def test_gradients_reach_all_weights_and_steps_of_the_largest_quantized_network(
    tiny_space: MBConvSpace, shaken_supernet: Supernet
) -> None:
    genome = tiny_space.assign(tiny_space.extremes()[1:], {"weight_format": "int8", "activation_format": "int8"})[
        0
    ]
    blocks = tiny_space.blocks(genome)
    shaken_supernet(_images(8, 12), blocks).pow(2).sum().backward()
    reached = {name for name, parameter in shaken_supernet.named_parameters() if parameter.grad is not None}
    for layer in tiny_space.layers(genome):
        key = f"layers.{layer.name.replace('.', '/')}"
        for part in ("weight", "bias", "input_log_scale.int8", "weight_log_ratio.int8"):
            assert f"{key}.{part}" in reached
    assert not any("int4" in name or "int6" in name or "transforms" in name for name in reached)


# -- channel sorting ---------------------------------------------------------------------------------------


def _hidden_importance(supernet: Supernet, block: str) -> Tensor:
    return supernet.elastic(f"{block}.project").weight.detach().abs().sum((0, 2, 3))


def test_sorting_leaves_networks_of_full_width_unchanged(
    tiny_space: MBConvSpace, shaken_supernet: Supernet
) -> None:
    genomes = []
    for policy in ("fp32", "int8", "int4"):
        for kernel in (3, 5):
            full = tiny_space.assign(tiny_space.extremes()[1:], {"kernel": kernel})
            genomes.append(tiny_space.assign(full, {"weight_format": policy})[0])
    x = _images(6, 12)
    with torch.no_grad():
        before = [shaken_supernet(x, tiny_space.blocks(genome)) for genome in genomes]
        old = [_hidden_importance(shaken_supernet, place.name) for place in tiny_space.places]
        shaken_supernet.sort_channels()
        for place, importance in zip(tiny_space.places, old, strict=True):
            sorted_importance = _hidden_importance(shaken_supernet, place.name)
            assert not torch.equal(sorted_importance, importance)
            torch.testing.assert_close(sorted_importance, importance.sort(descending=True).values)
        for genome, logits in zip(genomes, before, strict=True):
            torch.testing.assert_close(shaken_supernet(x, tiny_space.blocks(genome)), logits, rtol=1e-3, atol=1e-3)


def test_sorting_is_idempotent(shaken_supernet: Supernet) -> None:
    shaken_supernet.sort_channels()
    once = {name: tensor.clone() for name, tensor in shaken_supernet.state_dict().items()}
    shaken_supernet.sort_channels()
    for name, tensor in shaken_supernet.state_dict().items():
        assert torch.equal(tensor, once[name]), name


def test_narrow_networks_keep_the_important_channels(tiny_space: MBConvSpace, shaken_supernet: Supernet) -> None:
    """With the other channels' projections at zero, cutting them off changes nothing once they are sorted."""
    with torch.no_grad():
        for place in tiny_space.places:
            project = shaken_supernet.elastic(f"{place.name}.project").weight
            project[:, ::3] = 0.0  # a third of all channels is idle
        shaken_supernet.sort_channels()
        wide = tiny_space.genome({"stage0.block0.width": 12})
        narrow = tiny_space.genome({"stage0.block0.width": 8})
        x = _images(6, 8)
        torch.testing.assert_close(
            shaken_supernet(x, tiny_space.blocks(narrow)),
            shaken_supernet(x, tiny_space.blocks(wide)),
            rtol=1e-4,
            atol=1e-4,
        )


# -- what is built -----------------------------------------------------------------------------------------


def test_the_whole_space_is_built_whatever_is_restricted(tiny_space: MBConvSpace) -> None:
    narrow = tiny_space.restrict({"stage0.block0.width": [4], "stage1.depth": [1]})
    whole, small = Supernet(tiny_space).state_dict(), Supernet(narrow).state_dict()
    assert {k: v.shape for k, v in whole.items()} == {k: v.shape for k, v in small.items()}


def test_the_same_seed_gives_the_same_supernet(tiny_space: MBConvSpace) -> None:
    first, again, other = (Supernet(tiny_space, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.stem.weight"], other["layers.stem.weight"])


@pytest.mark.parametrize("name", ["stem", "stage1.block1.depthwise", "head.classifier"])
def test_layers_are_found_by_name(tiny_space: MBConvSpace, name: str) -> None:
    supernet = Supernet(tiny_space)
    assert supernet.elastic(name).largest.name == name
    assert supernet.elastic(name) in supernet.elastic_layers()
