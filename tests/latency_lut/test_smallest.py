from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over
from bitfront.latency_lut.profile_plan import input_shape, output_shape
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.smallest import largest, smallest
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits


class Hashed(Device):
    """Any cost is a hash of what it belongs to and of a seed: nothing can be guessed by monotony."""

    name = "hashed"
    costs = ("latency_ms", "energy_mj")
    is_measured = False

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return frozenset({("fp32", "fp32"), ("int8", "int8"), ("int4", "int8"), ("int4", "int4")})

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        blocks = unique_blocks(space, self)
        before = {(output_shape(block), handed_over(block)) for block in blocks.values()}
        after = {(input_shape(block), asked_for(block)) for block in blocks.values()}
        borders = {
            border_key(*shape, handed, asked)
            for shape, handed in before
            for other, asked in after
            if shape == other and handed != asked
        }
        rows = {key: self._row(key) for key in blocks}
        return Table(self.name, space.hash(), self.costs, rows, borders={key: self._row(key) for key in borders})

    def _row(self, key: str) -> dict[str, float]:
        digest = hashlib.sha256(f"{self.seed}{key}".encode()).digest()
        return {cost: 1 + digest[i] / 16 for i, cost in enumerate(self.costs)}

    def provenance(self) -> dict[str, Any]:
        return {}


def free(space: SearchSpace, names: set[str]) -> SearchSpace:
    """Only the genes of these names stay free; the others take an index that differs from gene to gene."""
    fixed = {
        gene.name: [space.allowed_choices(gene.name)[i % len(space.allowed_choices(gene.name))]]
        for i, gene in enumerate(space.genes)
        if gene.name not in names and not gene.is_policy
    }
    formats = {gene.name: ["int8"] for gene in space.genes if gene.is_policy and gene.name not in names}
    return space.restrict({**fixed, **formats})


def everything(space: SearchSpace) -> Any:
    """Every canonical genome of a small space, by brute force."""
    parts = [np.zeros((1, space.n_genes), dtype=np.uint8)]
    for group in space.groups:
        grown = np.repeat(parts[-1], len(group.rows), axis=0)
        grown[:, group.members] = np.tile(group.rows, (len(parts[-1]), 1))
        parts.append(np.unique(grown, axis=0))
    return np.unique(space.canonical(parts[-1]), axis=0)


_POLICIES = ("stem.weight_format", "stem.activation_format", "head.weight_format", "head.activation_format")
_FREE = [
    {"resolution", "stage0.depth", "stage1.depth", "stage2.depth", "stage0.block1.width", "stage1.block2.kernel"},
    {"stage0.depth", "stage1.depth", *_POLICIES, "stage0.block1.pointwise.activation_format",
     "stage0.block1.pointwise.weight_format", "stage1.block1.pointwise.activation_format",
     "stage1.block1.pointwise.weight_format"},
    {"resolution", "stage2.depth", "stage2.block1.width", "stage2.block1.pointwise.weight_format",
     "stage2.block1.pointwise.activation_format", "stage1.block0.depthwise.weight_format",
     "stage1.block0.depthwise.activation_format"},
]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("names", _FREE)
def test_is_brute_force(names: set[str], seed: int) -> None:
    device = Hashed(seed)
    space = free(device.restrict(digits()), names)
    model = device.compile(space)
    genomes = everything(space)
    assert len(genomes) == space.size() > 50
    costs = model.cost(genomes)
    for name in model.names:
        for extreme, expected in ((smallest, costs[name].min()), (largest, costs[name].max())):
            value, genome = extreme(model, space, name)
            assert value == pytest.approx(expected, rel=1e-12), (name, extreme.__name__)
            assert model.cost(space.check(genome[None]))[name][0] == value


@pytest.fixture(scope="module")
def model() -> CostModel:
    return Hashed(2).compile(digits())


def test_holds_for_the_whole_space_and_for_restrictions_of_it(model: CostModel) -> None:
    space = Hashed(2).restrict(digits())
    smaller = space.restrict({"stage0.block0.kernel": [5], "resolution": [8], "head.weight_format": ["int8"]})
    for where in (space, smaller):
        drawn = model.cost(where.sample(3000, np.random.default_rng(0)))
        for name in model.names:
            low, genome = smallest(model, where, name)
            high, _ = largest(model, where, name)
            assert where.valid(where.check(genome[None])).all()
            assert low <= drawn[name].min() < drawn[name].max() <= high


def test_refuses_a_cost_that_there_is_not(model: CostModel) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        smallest(model, Hashed(2).restrict(digits()), "latency")
