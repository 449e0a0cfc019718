"""500 published measurements of quantized subnets of Once-for-All's ResNet-50, as genomes of a space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.ofa_resnet50 import (
    default_path,
    genome_of,
    per_convolution_space,
    published_pairs,
    published_subnets,
)
from bitfront.supernet.errors import MissingFileError

SPACE = per_convolution_space()
STAGES = SPACE.architectures.frame.stages
BLOCKS = (2, 2, 4, 2)
MULTIPLIERS = (0.65, 0.8, 1.0)


@pytest.fixture(scope="module")
def subnets() -> list[dict[str, Any]]:
    try:
        return [subnet for subnet, _ in published_subnets(default_path())]
    except MissingFileError as error:
        pytest.skip(str(error))


def block_places() -> list[tuple[int, int]]:
    return [(stage, block) for stage, most in enumerate(BLOCKS) for block in range(most + 2)]


def genome(subnet: dict[str, Any]) -> NDArray[np.uint8]:
    return genome_of(SPACE, subnet)


def rounded_to_8(channels: float) -> int:
    """Once-for-All's rounding, written a second time: to the nearest multiple, up where a tenth would be lost."""
    nearest = max(8, 8 * int(channels / 8 + 0.5))
    return nearest + 8 if nearest < 0.9 * channels else nearest


def convolutions(subnet: dict[str, Any]) -> list[tuple[int, int, int]]:
    """(channels in, channels out, kernel) of what Once-for-All builds, from its rules alone."""
    d, e, w = subnet["d"], subnet["e"], subnet["w"]
    stem = rounded_to_8(rounded_to_8(64 * MULTIPLIERS[w[0]]) // 2)
    before = rounded_to_8(64 * MULTIPLIERS[w[1]])
    shapes = [(3, stem, 3), *([(stem, stem, 3)] if d[0] == 2 else []), (stem, before, 3)]
    for (stage, block), ratio in zip(block_places(), e, strict=True):
        out = rounded_to_8((256, 512, 1024, 2048)[stage] * MULTIPLIERS[w[2 + stage]])
        if block < BLOCKS[stage] + d[1 + stage]:
            middle = rounded_to_8(round(out * ratio))
            shapes += [(before, middle, 1), (middle, middle, 3), (middle, out, 1)]
            shapes += [(before, out, 1)] if block == 0 else []
            before = out
    return shapes


def bits_of_convolutions(subnet: dict[str, Any]) -> list[int]:
    """What each of `convolutions` has, by the masks that DyNAS-T lays over the 61 entries."""
    d = subnet["d"]
    mask = [True, True, d[0] == 2]
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks + 2):
            mask += [block < blocks + d[1 + stage]] * (4 if block == 0 else 3)
    return [bits for bits, there in zip(subnet["q_bits"], mask, strict=True) if there]


def test_every_subnet_is_a_network_of_the_space(subnets: list[dict[str, Any]]) -> None:
    assert len(subnets) == 500
    for subnet in subnets:
        built = SPACE.layers(genome(subnet))
        shapes = [(layer.in_channels, layer.out_channels, layer.kernel) for layer in built]
        assert shapes[:-1] == convolutions(subnet)


def test_different_genomes_are_different_networks_and_the_other_way_round(subnets: list[dict[str, Any]]) -> None:
    architecture = np.array([not gene.is_policy for gene in SPACE.genes])
    pairs = {(genome(subnet)[architecture].tobytes(), tuple(convolutions(subnet))) for subnet in subnets}
    assert len(pairs) == len({genes for genes, _ in pairs}) == len({network for _, network in pairs})


def test_a_genome_says_what_the_subnet_was(subnets: list[dict[str, Any]]) -> None:
    for subnet in subnets:
        chosen = SPACE.decode(genome(subnet))
        assert [int(chosen[f"stage{s}.depth"]) - BLOCKS[s] for s in range(4)] == subnet["d"][1:]
        assert (chosen["stem.depth"] == 3) == (subnet["d"][0] == 2)
        widths = [stage.out_channels for stage in STAGES]
        assert [widths[s].index(int(chosen[f"stage{s}.width"])) for s in range(4)] == subnet["w"][2:]
        for (stage, block), ratio in zip(block_places(), subnet["e"], strict=True):
            assert chosen.get(f"stage{stage}.block{block}.expand_percent", round(100 * ratio)) == round(
                100 * ratio
            )


def test_bits_are_given_for_every_convolution_of_the_deepest_network(subnets: list[dict[str, Any]]) -> None:
    *convolved, classifier = SPACE.layers(SPACE.extremes()[1])
    assert classifier.op == "linear"
    assert {len(subnet["q_bits"]) for subnet in subnets} == {len(convolved)} == {61}
    assert {bits for subnet in subnets for bits in subnet["q_bits"]} == {8, 32}
    for subnet in subnets:
        built = [layer.weight_format for layer in SPACE.layers(genome(subnet))[:-1]]
        assert built == [{8: "int8", 32: "fp32"}[bits] for bits in bits_of_convolutions(subnet)]


def test_pairs_are_the_rows_with_fractions(subnets: list[dict[str, Any]]) -> None:
    pairs = published_pairs(SPACE)
    assert len(pairs) == len(subnets)
    assert 0.7 < pairs.accuracy.min() < pairs.accuracy.max() < 0.82


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="BITFRONT_DATA"):
        published_subnets(tmp_path / "none.csv")
