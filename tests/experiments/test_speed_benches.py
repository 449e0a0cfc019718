"""What the benchmarks of the supernet's speed compare is the same work."""

import numpy as np
import pytest
import torch

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.benchmarks import evaluate as bench_evaluate
from bitfront.experiments.benchmarks.evaluate import noise, prepared_supernet
from bitfront.experiments.benchmarks.supernet_overhead import StandAlone
from bitfront.supernet.data.dataset import resize
from bitfront.supernet.genes import Choice, GeneKind
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.mark.parametrize("number_format", ["fp32", "int8", "int4"])
def test_the_stand_alone_network_is_the_supernets(tiny_space: MBConvSpace, number_format: str) -> None:
    supernet = prepared_supernet(tiny_space, noise(12, validation=16), 0)
    policy: dict[GeneKind, Choice] = {"weight_format": number_format, "activation_format": number_format}
    blocks = tiny_space.blocks(tiny_space.assign(tiny_space.extremes()[1:], policy)[0])
    alone = StandAlone(supernet, blocks)
    images = torch.randn(64, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    expected, found = supernet(images, blocks), alone(images)
    # Step sizes go through a logarithm there and back, so that now and then a code is the next one.
    assert (expected - found).abs().mean() < 0.02 * expected.abs().mean()
    for logits in (expected, found):
        logits.square().mean().backward()
    one = supernet.elastic("stage0.block0.project").weight.grad
    other = alone.get_parameter("blocks.1.layers.2.weight").grad
    assert one is not None
    assert other is not None
    assert float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0)) > 0.95


def test_both_ways_give_the_same_accuracies(tiny_space: MBConvSpace) -> None:
    speeds = bench_evaluate._speeds(tiny_space, noise(12, validation=64), 6, 0)
    assert speeds.differ == 0
    assert min(speeds.evaluator, speeds.one_by_one) > 0


def test_noise_fits_what_is_asked() -> None:
    data = noise(9, validation=20)
    assert data.validation.images.shape == (20, 1, 9, 9)
    assert resize(data.tensor(data.train.images[:4]), 12).shape == (4, 1, 12, 12)
    assert len(np.unique(data.train.labels)) == 10


def test_they_are_registered() -> None:
    assert {"evaluate", "supernet-overhead"} <= set(BENCHMARKS.names())
