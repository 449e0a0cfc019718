"""One network with weights of its own: the supernet's network of the same genome, and nothing beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.one_network import OneNetwork
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings


@pytest.fixture(params=["tiny", "gated", "bottlenecks"])
def space(
    request: pytest.FixtureRequest,
    tiny_space: MBConvSpace,
    gated_space: MBConvSpace,
    bottleneck_space: BottleneckSpace,
) -> SearchSpace:
    spaces: dict[str, SearchSpace] = {"tiny": tiny_space, "gated": gated_space, "bottlenecks": bottleneck_space}
    return spaces[request.param]


def genomes_of(space: SearchSpace) -> Genomes:
    return np.concatenate([space.extremes(), space.sample(4, np.random.default_rng(6))])


def shaken(supernet: Supernet) -> Supernet:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return supernet


def with_weights_of(
    supernet: Supernet, network: OneNetwork, genome: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> None:
    """Copy what the supernet uses for this network; step sizes as they are."""
    with torch.no_grad():
        for layer in supernet.space.layers(genome):
            used, own, shared = (
                supernet.params(layer, False),
                network.elastic(layer.name),
                supernet.elastic(layer.name),
            )
            own.weight.copy_(used.weight)
            own.bias.copy_(used.bias)
            if own.gain is not None and used.gain is not None:
                own.gain.copy_(used.gain)
            own.output_log_scale.copy_(shared.output_log_scale)
            for name, scale in own.input_log_scale.items():
                scale.copy_(shared.input_log_scale[name])
                own.weight_log_ratio[name].copy_(shared.weight_log_ratio[name])


def test_with_the_supernets_weights_it_answers_alike(space: SearchSpace) -> None:
    """In real numbers and in its policy, bit for bit."""
    supernet = shaken(Supernet(space, seed=1))
    images = torch.randn(6, 1, 14, 14, generator=torch.Generator().manual_seed(2))
    for genome in genomes_of(space):
        network = OneNetwork(space, genome)
        with_weights_of(supernet, network, genome)
        blocks = space.blocks(genome)
        size = blocks[0].layers[0].in_size
        seen = images[:, :, :size, :size]
        with torch.no_grad():
            assert torch.equal(network(seen, blocks), supernet(seen, blocks))


def test_it_has_the_weights_of_its_layers_and_no_others(space: SearchSpace) -> None:
    for genome in genomes_of(space):
        network = OneNetwork(space, genome)
        layers = {layer.name: layer for layer in space.layers(genome)}
        assert {elastic.largest.name for elastic in network.elastic_layers()} == set(layers)
        for elastic in network.elastic_layers():
            layer = layers[elastic.largest.name]
            assert elastic.weight.numel() == layer.weights
            assert elastic.weight.shape[0] == layer.out_channels
            assert elastic.kernels == (layer.kernel,)
            assert len(elastic.transforms) == 0


def test_its_space_is_its_architecture_in_every_policy(space: SearchSpace) -> None:
    for genome in genomes_of(space):
        network = OneNetwork(space, genome)
        assert network.space.hash() == space.hash()
        assert network.space.valid(genome[None]).all()
        architecture = [i for i, gene in enumerate(space.genes) if not gene.is_policy]
        sampled = network.space.sample(30, np.random.default_rng(1))
        assert (sampled[:, architecture] == genome[architecture]).all()
        assert len(np.unique(sampled, axis=0)) > 20


def test_seeds_decide_its_first_weights(tiny_space: MBConvSpace) -> None:
    genome = tiny_space.extremes()[1]
    first, same, other = (OneNetwork(tiny_space, genome, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())
    assert not torch.equal(first["layers.stem.weight"], other["layers.stem.weight"])


def test_it_is_trained_and_measured_as_a_supernet_is(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    largest = tiny_space.decode(tiny_space.extremes()[1])
    genome = tiny_space.genome(largest | {"stage1.block0.kernel": 3, "stage0.depth": 2})
    network = OneNetwork(tiny_space, genome, seed=1)
    settings = TrainingSettings(
        8, 0, 0, batch_size=16, learning_rate=2e-2, augment=False, subnets_per_step=0, probes=0
    )
    reports: list[EpochReport] = []
    Trainer(network, tiny_data, settings, seed=0, device="cpu").run(reports.append)
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert reports[-1].top1_min == reports[-1].top1_max > 0.35  # chance: 0.1
    int8 = tiny_space.assign(genome[None], {"weight_format": "int8", "activation_format": "int8"})
    real, quantized = Evaluator(network, tiny_data).evaluate(np.concatenate([genome[None], int8]))
    assert real.top1 > 0.35
    assert quantized.top1 > 0.35  # step sizes were set in the end, though not learned
    trained_alone = OneNetwork(tiny_space, genome, seed=1)
    Trainer(trained_alone, tiny_data, dataclasses.replace(settings), seed=0, device="cpu").run(lambda report: None)
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in trained_alone.state_dict().items())
