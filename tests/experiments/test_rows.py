"""Networks in few words: different architectures of one space read differently."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.rows import measured_values, short_architecture
from bitfront.experiments.stages.picking import ranked_members
from bitfront.experiments.store.records import Candidate, FrontMember
from bitfront.search.front import Front
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


def test_accuracies_of_devices_are_shown_although_nobody_searched_for_them() -> None:
    candidate = Candidate(3, 0, b"\0", {"latency_ms@phone": 1.0, "latency_ms@edge": 2.0}, True)
    measured = {"top1@phone": 0.8, "top1_test@phone": 0.7, "top1@edge": 0.6, "top1_test@edge": 0.5}
    member = FrontMember(candidate, None, None, None, False, None, measured)
    found = measured_values(member, list(candidate.predicted))
    assert found == {**measured, "latency_ms@phone": None, "latency_ms@edge": None}


def front(**measured: list[float]) -> Front:
    predicted = {"latency_ms": np.array([1.0, 2.0, 3.0]), "size_bytes": np.array([3.0, 2.0, 1.0])}
    columns = {name: np.array(values) for name, values in measured.items()}
    return Front.of(list(predicted), np.zeros((3, 1), np.uint8), predicted, columns)


def test_the_best_is_the_most_accurate_known_or_that_of_the_first_objective() -> None:
    assert ranked_members(front(top1=[0.5, 0.9, np.nan]), "best")[0] == 1
    assert ranked_members(front(top1=[np.nan] * 3), "best")[0] == 0
    assert ranked_members(front(), "best")[0] == 0
