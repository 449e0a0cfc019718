"""Networks in few words: different architectures of one space read differently."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.rows import short_architecture
from bitfront.supernet.spaces import SPACES


@pytest.mark.parametrize("name", ["digits", "mobilenet_v3_cifar", "resnet50_cifar"])
def test_stages_tell_architectures_apart(name: str) -> None:
    space = SPACES.get(name)()
    words: dict[str, list[object]] = {}
    for genome in space.sample(200, np.random.default_rng(0)):
        inner = [
            (block.name, block.tail.out_channels, block.layers[1].out_channels, block.layers[1].kernel)
            for block in space.blocks(genome)
            if ".block" in block.name
        ]
        resolution = space.decode(genome)["resolution"]
        words.setdefault(short_architecture(resolution, space.blocks(genome)), []).append((resolution, inner))
    assert len(words) > 100
    assert all(network == same[0] for same in words.values() for network in same)


def test_bottlenecks_show_output_and_hidden_channels() -> None:
    space = SPACES.get("resnet50_cifar")()
    largest = space.blocks(space.extremes()[1])
    first = next(block for block in largest if block.kind == "bottleneck")
    start = f"{first.tail.out_channels}:3w{first.layers[1].out_channels}."
    assert short_architecture(32, largest).startswith(f"r32 {start}")
