"""What the cost model's benchmark measures, not how fast it is."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.benchmarks import cost_model as bench
from bitfront.experiments.benchmarks.speed_plot import Curve, speed_figure
from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture(scope="module")
def space() -> MBConvSpace:
    return bitfusion().restrict(bench.searched_space())


@pytest.fixture(scope="module")
def model(space: MBConvSpace) -> CostModel:
    return bench.model_with_borders(space)


def test_the_space_has_over_sixty_genes(space: MBConvSpace) -> None:
    assert space.n_genes > 60


def test_all_six_costs_are_given_and_borders_count(space: MBConvSpace, model: CostModel) -> None:
    assert len(model.names) == 6
    genomes = space.sample(200, np.random.default_rng(0))
    more = model.cost(genomes)["latency_ms"] - bitfusion().compile(space).cost(genomes)["latency_ms"]
    assert (more > 0).mean() > 0.9


def test_the_bare_form_sums_the_same_rows(space: MBConvSpace, model: CostModel) -> None:
    genomes = space.sample(300, np.random.default_rng(0))
    places = [(slot.costs, rows) for slot, rows in model.rows(genomes)]
    bare, costs = bench.bare_gather_and_sum(places), model.cost(genomes)
    borderless = bench.bare_gather_and_sum(bench.without_borders(model, places))
    for column, name in enumerate(model.names[:-1]):
        np.testing.assert_array_equal(bare[:, column], costs[name])
        if name in ("size_bytes", "macs", "bitops"):
            np.testing.assert_array_equal(borderless[:, column], costs[name])
    assert (borderless[:, 0] <= bare[:, 0]).all()
    assert (bare[:, -1] >= costs["peak_memory_bytes"]).all()  # a sum where the model takes the largest


def test_speeds_are_drawn() -> None:
    image = speed_figure([Curve("62 genes", (100, 1000), [1e6, 2e6]), Curve("137 genes", (100, 1000), [5e5, 1e6])])
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
