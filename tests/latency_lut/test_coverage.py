"""Restriction to what a device has costs for, held against brute force over a small space."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace, Uniform
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

Covers = Callable[[Block], bool]


def small(resolutions: tuple[int, ...] = (8, 12)) -> MBConvSpace:
    """Few enough networks to list them all."""
    stage = StageConfig(out_channels=4, stride=1, depths=(1, 2), widths=(4, 8), kernels=(3, 5))
    formats = ("int8", "int4")
    return MBConvSpace("small", MBConvConfig(1, 2, 4, 1, (stage,), 4, resolutions, formats, ("int8",), ("int8",)))


class Gappy(Device):
    """A device that lacks some blocks."""

    name = "gappy"
    costs = ("latency_ms",)
    is_measured = False

    def __init__(self, covers: Covers) -> None:
        self._covers = covers

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return frozenset({("int8", "int8"), ("int4", "int8")})

    def covers(self, block: Block) -> bool:
        return self._covers(block)

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        keys = [key for key, block in unique_blocks(space, self).items() if self.covers(block)]
        return Table(self.name, space.hash(), self.costs, {key: {"latency_ms": 1.0} for key in keys})

    def provenance(self) -> dict[str, Any]:
        return {}


def every_genome(space: MBConvSpace) -> np.ndarray[Any, np.dtype[np.uint8]]:
    product = itertools.product(*(range(size) for size in space.cardinalities))
    genomes = np.array(list(product), dtype=np.uint8)
    return np.unique(space.canonical(genomes), axis=0)


def is_mbconv(block: Block) -> bool:
    return block.kind == "mbconv"


def is_wide_5x5_of_int4(block: Block) -> bool:
    _, depthwise, _ = block.layers
    return depthwise.kernel == 5 and depthwise.in_channels == 8 and depthwise.weight_format == "int4"


def test_a_gap_takes_its_combination_and_nothing_else() -> None:
    space = small()
    device = Gappy(lambda block: not (is_mbconv(block) and is_wide_5x5_of_int4(block)))
    left = device.restrict(space)
    every = every_genome(space)
    covered = np.array([all(map(device.covers, space.blocks(genome))) for genome in every])
    np.testing.assert_array_equal(left.valid(every), covered)
    assert left.size() == covered.sum() < space.size()
    assert left.hash() == space.hash()


@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_what_is_left_is_covered_and_costs_something(seed: int, share: float) -> None:
    """Whatever the gaps: every network of the restricted space is there, and none that could stay is lost."""

    def covers(block: Block) -> bool:
        draw = int.from_bytes(hashlib.sha256(f"{seed}{op_key(block)}".encode()).digest()[:4]) / 2**32
        return not is_mbconv(block) or draw > share

    space, device = small((8,)), Gappy(covers)
    every = every_genome(space)
    covered = np.array([all(map(covers, space.blocks(genome))) for genome in every])
    if not covered.any():
        with pytest.raises(UnsupportedError):
            device.restrict(space)
        return
    left = device.restrict(space)
    np.testing.assert_array_equal(left.valid(every), covered)
    model = device.compile(space)
    for uniform_over in get_args(Uniform):
        sampled = left.sample(20, np.random.default_rng(seed), uniform_over)
        assert np.isfinite(model.cost(sampled)["latency_ms"]).all()


@pytest.mark.parametrize("uniform_over", get_args(Uniform))
def test_sampling_stays_uniform(uniform_over: Uniform) -> None:
    """With one block left that has a choice, its genes are one group, which is uniform in every mode."""
    device = Gappy(lambda block: not (is_mbconv(block) and is_wide_5x5_of_int4(block)))
    left = device.restrict(small((8,)).restrict({"stage0.depth": [1]}))
    counts = Counter(map(bytes, left.sample(20_000, np.random.default_rng(0), uniform_over)))
    assert len(counts) == left.size()
    expected = 20_000 / len(counts)
    assert max(abs(count - expected) for count in counts.values()) < 6 * np.sqrt(expected)


def test_a_combination_must_be_covered_at_every_resolution() -> None:
    device = Gappy(
        lambda block: not (is_mbconv(block) and block.layers[0].in_size == 12 and is_wide_5x5_of_int4(block))
    )
    left = device.restrict(small())
    assert left.allowed_choices("resolution") == (8, 12)
    for genome in left.sample(300, np.random.default_rng(0)):
        assert not any(is_mbconv(block) and is_wide_5x5_of_int4(block) for block in left.blocks(genome))


def test_a_resolution_without_any_block_goes() -> None:
    device = Gappy(lambda block: not (is_mbconv(block) and block.layers[0].in_size == 12))
    assert device.restrict(small()).allowed_choices("resolution") == (8,)


def test_depths_that_need_a_block_without_costs_go() -> None:
    device = Gappy(lambda block: not block.residual or block.name.endswith("block0"))
    left = device.restrict(small())
    assert left.allowed_choices("stage0.depth") == (1,)
    assert np.isfinite(device.compile(small()).cost(left.sample(20, np.random.default_rng(0)))["latency_ms"]).all()


def test_a_slot_with_nothing_left_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"'gappy' has no costs for any block at slot 'head'.*fuller table"):
        Gappy(lambda block: block.kind != "head").restrict(small())


def test_a_full_table_changes_nothing() -> None:
    space = small()
    assert Gappy(lambda block: True).restrict(space).size() == space.size()
