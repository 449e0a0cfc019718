"""True accuracy of networks of every form: what the evaluator counts is what an extracted subnet answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet

FORMS = ("tiny_space", "gated_space", "bottleneck_space", "hidden_relu")


@pytest.fixture(params=FORMS)
def space(request: pytest.FixtureRequest) -> Any:
    if request.param != "hidden_relu":
        return request.getfixturevalue(request.param)
    tiny: MBConvSpace = request.getfixturevalue("tiny_space")
    return MBConvSpace("hidden", replace(tiny.frame, hidden_channels=12))


def test_the_evaluator_counts_what_a_subnet_answers(space: Any, tiny_data: Dataset) -> None:
    evaluator = Evaluator(Supernet(space, seed=3), tiny_data, 32)
    genomes = np.concatenate([space.sample(3, np.random.default_rng(0)), space.extremes()])
    for genome, measured in zip(genomes, evaluator.evaluate(genomes, "test"), strict=True):
        blocks = space.blocks(genome)
        subnet = Subnet(evaluator.supernet, blocks, evaluator.statistics(blocks))
        images = resize(tiny_data.tensor(tiny_data.test.images), blocks[0].layers[0].in_size)
        with torch.no_grad():
            answers = subnet(images).argmax(1).numpy()
        assert abs(measured.top1 - float((answers == tiny_data.test.labels).mean())) <= 1.5 / len(answers)
