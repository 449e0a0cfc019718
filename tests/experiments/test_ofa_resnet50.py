"""500 published measurements of quantized subnets of Once-for-All's ResNet-50, as genomes of the space.

The file comes from a search with DyNAS-T over Intel Neural Compressor. A row names a subnet as Once-for-All does:
``d`` the stem's and the stages' depths, ``e`` the expand ratio of all 18 blocks, ``w`` the width multiplier index
of the stem's two widths and the stages. ``q_bits`` has an entry for every convolution of the deepest network (the
classifier stays in fp32), in order: the stem's three, then per block reduce, spatial, restore and, in a stage's
first block, the shortcut (DyNAS-T, ofa_quantization/depth_parser.py). Entries of skipped blocks are dropped; where
the stem's middle convolution is skipped, the first two entries are those of the two that are left.
"""

from __future__ import annotations

import ast
import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.spaces.resnet50 import resnet50

SPACE = resnet50()
BLOCKS = (2, 2, 4, 2)
MULTIPLIERS = (0.65, 0.8, 1.0)
_ROOT = Path(os.environ.get("BITFRONT_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
_FILE = _ROOT / "ofa_resnet50_quant" / "results_ofa_resnet50_quant.csv"


@pytest.fixture(scope="module")
def subnets() -> list[dict[str, Any]]:
    if not _FILE.is_file():
        pytest.skip(f"{_FILE} is absent")
    with _FILE.open(newline="", encoding="utf-8") as file:
        return [ast.literal_eval(row["Sub-network"]) for row in csv.DictReader(file)]


def block_places() -> list[tuple[int, int]]:
    return [(stage, block) for stage, most in enumerate(BLOCKS) for block in range(most + 2)]


def genome_of(subnet: dict[str, Any]) -> NDArray[np.uint8]:
    d, e, w = subnet["d"], subnet["e"], subnet["w"]
    out = SPACE.frame.stem_out_channels[w[1]]
    choices: dict[str, int | str] = {
        "resolution": subnet["r"][0],
        "stem.depth": 3 if d[0] == 2 else 2,
        "stem.width": rounded_to_8(rounded_to_8(64 * MULTIPLIERS[w[0]]) // 2),
        "stem.out.width": out,
    }
    for stage, blocks in enumerate(BLOCKS):
        choices[f"stage{stage}.depth"] = blocks + d[1 + stage]
        choices[f"stage{stage}.width"] = SPACE.frame.stages[stage].out_channels[w[2 + stage]]
    for (stage, block), ratio in zip(block_places(), e, strict=True):
        choices[f"stage{stage}.block{block}.expand_percent"] = round(100 * ratio)
    return SPACE.genome(choices)


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


def test_every_subnet_is_a_network_of_the_space(subnets: list[dict[str, Any]]) -> None:
    assert len(subnets) == 500
    for subnet in subnets:
        built = SPACE.layers(genome_of(subnet))
        shapes = [(layer.in_channels, layer.out_channels, layer.kernel) for layer in built]
        assert shapes[:-1] == convolutions(subnet)


def test_different_genomes_are_different_networks_and_the_other_way_round(subnets: list[dict[str, Any]]) -> None:
    pairs = {(genome_of(subnet).tobytes(), tuple(convolutions(subnet))) for subnet in subnets}
    assert len(pairs) == len({genome for genome, _ in pairs}) == len({network for _, network in pairs})


def test_a_genome_says_what_the_subnet_was(subnets: list[dict[str, Any]]) -> None:
    for subnet in subnets:
        chosen = SPACE.decode(genome_of(subnet))
        assert [int(chosen[f"stage{s}.depth"]) - BLOCKS[s] for s in range(4)] == subnet["d"][1:]
        assert (chosen["stem.depth"] == 3) == (subnet["d"][0] == 2)
        widths = [stage.out_channels for stage in SPACE.frame.stages]
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
