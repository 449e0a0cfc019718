"""Published ImageNet measurements of quantized subnets of Once-for-All's ResNet-50, as pairs of a space.

The file comes from a search with DyNAS-T over Intel Neural Compressor. A row names a subnet as Once-for-All does:
``d`` the stem's and the stages' depths, ``e`` the expand ratio of all 18 blocks, ``w`` the width multiplier index
of the stem's two widths and the stages. ``q_bits`` has 8 or 32 for every convolution of the deepest network (the
classifier stays in fp32), in order: the stem's three, then per block reduce, spatial, restore and, in a stage's
first block, the shortcut (DyNAS-T, ofa_quantization/depth_parser.py). Entries of skipped blocks mean nothing; of a
stem without its middle convolution, the first two entries are those of the two that are left.
"""

from __future__ import annotations

import ast
import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.dataset import Pairs
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.genes import Choice, Gene
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.resnet50 import resnet50
from bitfront.supernet.spaces.shapes import divisible

_PLACE = Path("ofa_resnet50_quant") / "results_ofa_resnet50_quant.csv"
_MULTIPLIERS = (0.65, 0.8, 1.0)
_FORMATS = ("fp32", "int8")
_ACCURACY = "Top-1 Acc (%)"
_STEM_WIDTH, _DEEP_STEM = 64, 3
_DEEP = 2


class PerConvolutionSpace(SearchSpace):
    """The architectures of `resnet50` with one gene per convolution: fp32 or int8."""

    def __init__(self, architectures: BottleneckSpace) -> None:
        self.architectures = architectures
        self._convolutions = {
            slot.name: tuple(layer.name for layer in block.layers if layer.op != "linear")
            for slot, block in zip(architectures.slots, architectures.largest_blocks, strict=True)
        }
        genes = [gene for gene in architectures.genes if not gene.is_policy]
        genes += [
            Gene(f"{name}.bits", "weight_format", _FORMATS, slot.active_if)
            for slot in architectures.slots
            for name in self._convolutions[slot.name]
        ]
        super().__init__("ofa_resnet50_per_convolution", genes)

    @property
    def config(self) -> Any:
        """That of the architectures."""
        return self.architectures.config

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Those of the architectures, each with the genes of its convolutions."""
        return tuple(self._slot(slot) for slot in self.architectures.slots)

    def _slot(self, slot: Slot) -> Slot:
        names = self._convolutions[slot.name]
        kept = tuple(name for name in slot.genes if name in self.position)
        lacking = len(slot.genes) - len(kept)
        return Slot(
            slot.name,
            (*kept, *(f"{name}.bits" for name in names)),
            slot.active_if,
            partial(_build, slot, lacking, names),
        )


def _build(slot: Slot, lacking: int, names: tuple[str, ...], values: tuple[Choice, ...]) -> Block:
    """The architecture's block in fp32 (its formats come last), then each convolution in its own format."""
    block = slot.build((*values[: len(values) - len(names)], *["fp32"] * lacking))
    formats = dict(zip(names, map(str, values[len(values) - len(names) :]), strict=True))
    layers = tuple(
        replace(one, weight_format=formats[one.name], activation_format=formats[one.name])
        if one.name in formats
        else one
        for one in block.layers
    )
    return replace(block, layers=layers)


def published_pairs(space: PerConvolutionSpace, path: Path | None = None) -> Pairs:
    """All rows of the file as pairs, in its order.

    Raises:
        MissingFileError: it is absent.
    """
    rows = published_subnets(path or default_path())
    genomes = np.stack([genome_of(space, subnet) for subnet, _ in rows])
    return Pairs(genomes, np.array([accuracy for _, accuracy in rows]))


def default_path() -> Path:
    """In the folder of real data: BITFRONT_DATA, or ``shared/data`` beside the working directory's parent."""
    return Path(os.environ.get("BITFRONT_DATA", Path.cwd().parent / "shared" / "data")) / _PLACE


def published_subnets(path: Path) -> list[tuple[dict[str, Any], float]]:
    """(subnet, top-1 as a fraction) per row.

    Raises:
        MissingFileError: it is absent.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is missing: set BITFRONT_DATA to the folder that holds {_PLACE.parent}")
    with path.open(newline="", encoding="utf-8") as file:
        return [
            (ast.literal_eval(row["Sub-network"]), float(row[_ACCURACY]) / 100) for row in csv.DictReader(file)
        ]


def genome_of(space: PerConvolutionSpace, subnet: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A row's subnet as a genome (n_genes,)."""
    return space.genome(dict(architecture_choices(space.architectures, subnet)) | dict(_bits(space, subnet)))


def architecture_choices(space: BottleneckSpace, subnet: Mapping[str, Any]) -> Iterator[tuple[str, Choice]]:
    """Gene name and choice of all that is no policy."""
    depths, ratios, widths = subnet["d"], subnet["e"], subnet["w"]
    yield "resolution", subnet["r"][0]
    yield "stem.depth", _DEEP_STEM if depths[0] == _DEEP else _DEEP_STEM - 1
    yield "stem.width", divisible(divisible(_STEM_WIDTH * _MULTIPLIERS[widths[0]]) // 2)
    yield "stem.out.width", space.frame.stem_out_channels[widths[1]]
    for s, stage in enumerate(space.frame.stages):
        yield f"stage{s}.depth", stage.depths[0] + depths[1 + s]
        yield f"stage{s}.width", stage.out_channels[widths[2 + s]]
    for place, ratio in zip(space.places, ratios, strict=True):
        yield f"{place.name}.expand_percent", round(100 * ratio)


def _bits(space: PerConvolutionSpace, subnet: Mapping[str, Any]) -> Iterator[tuple[str, Choice]]:
    names = [gene.name for gene in space.genes if gene.is_policy]
    first, second, third, *others = subnet["q_bits"]
    if subnet["d"][0] != _DEEP:  # the genome's second is the convolution that is skipped, the file's is the third
        second, third = third, second
    for name, bits in zip(names, [first, second, third, *others], strict=True):
        yield name, "int8" if bits == 8 else "fp32"


def per_convolution_space() -> PerConvolutionSpace:
    """The space of the file's subnets."""
    return PerConvolutionSpace(resnet50())
