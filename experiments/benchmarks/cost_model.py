"""How fast are candidates costed? All six costs, borders included, against the bare gather and sum behind them.

The bare form is given the row of every block, worked out beforehand, and does nothing but gather these rows of
the same dense arrays and sum them up; it does not even find the largest peak. The rest of the cost model is rows
out of genomes, what each block demands of the one before, peaks, and checks. The arrays hold each block once per
demand that can follow, which is what makes borders a part of the sum; a form that leaves borders out needs one row
a block, and its figure stands beside. Times are processor time of the whole process, so that a library's second
thread would count too; ratios are taken within one run, and medians over several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.speed_plot import Curve, speed_figure
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.cost_model import CHUNK, CostModel, compile_costs
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over
from bitfront.latency_lut.profile_plan import input_shape, output_shape
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

_FORMATS = ("int8", "int6", "int4")
_LARGE = "proxyless"
_BATCH = 100_000
_QUICK_BATCH = 20_000
_BATCHES = (100, 1_000, 10_000, 100_000)
_RUNS_PER_SEED = 5
_GOALS = ("million_candidates_per_second >= 2", "times_bare_gather_and_sum <= 3")

Places = list[tuple[NDArray[np.float64], NDArray[np.intp]]]
"""Per slot: its costs (rows, costs), and the row of each candidate in them."""


@dataclass(frozen=True)
class _Speeds:
    """Medians over several runs: candidates per second, and the ratio to the bare forms in the same run."""

    model: float
    bare: float
    times_bare: float
    times_borderless: float


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Speeds in a space of 62 genes and in the large space; seeds draw the candidates."""
    batch = _QUICK_BATCH if quick else _BATCH
    space = searched_space()
    large = SPACES.get(_LARGE)()
    figures: dict[str, float] = {}
    curves = []
    for name, whole, suffix in ((f"{space.n_genes} genes", space, ""), (large.name, large, f"_{large.name}")):
        reporter.say(f"compiling the costs of {name}")
        start = time.monotonic()
        one = bitfusion().restrict(whole)
        model = model_with_borders(one)
        seconds = time.monotonic() - start
        speeds = _median([_speeds(model, one.sample(batch, np.random.default_rng(seed))) for seed in range(seeds)])
        figures |= {
            f"genes{suffix}": float(one.n_genes),
            f"million_candidates_per_second{suffix}": speeds.model / 1e6,
            f"million_bare_gathers_and_sums_per_second{suffix}": speeds.bare / 1e6,
            f"times_bare_gather_and_sum{suffix}": speeds.times_bare,
            f"times_bare_without_borders{suffix}": speeds.times_borderless,
            f"compile_seconds{suffix}": seconds,
        }
        curves.append(Curve(name, _BATCHES, [_speed(model, one, n) for n in _BATCHES]))
    return BenchResult.of("cost-model", seeds, figures, _GOALS, {"speed": speed_figure(curves)})


def searched_space() -> MBConvSpace:
    """Three stages of up to three blocks, with bits per layer: a little over 60 genes."""
    stages = tuple(
        StageConfig(
            out_channels=channels, stride=2, depths=(1, 2, 3), widths=tuple(channels * k for k in (2, 3, 4, 6))
        )
        for channels in (16, 24, 40)
    )
    return MBConvSpace("62 genes", MBConvConfig(3, 10, 16, 1, stages, 128, (24, 32), _FORMATS, _FORMATS, _FORMATS))


def model_with_borders(space: SearchSpace) -> CostModel:
    """BitFusion's costs, with borders of a nanosecond and a nanojoule: it has none, which would be faster."""
    device = bitfusion()
    blocks = list(unique_blocks(space, device).values())
    meetings = {(output_shape(block), handed_over(block)) for block in blocks}
    asked = {(input_shape(block), asked_for(block)) for block in blocks}
    borders = {
        border_key(*shape, before, after): dict.fromkeys(device.costs, 1e-6)
        for shape, before in meetings
        for other, after in asked
        if shape == other and before != after
    }
    table = device.table(space, None, np.random.default_rng(0))
    return compile_costs(space, device, replace(table, borders=borders))


def _speeds(model: CostModel, genomes: Genomes) -> list[_Speeds]:
    chunks = [
        [(slot.costs, rows) for slot, rows in model.rows(genomes[start : start + CHUNK])]
        for start in range(0, len(genomes), CHUNK)
    ]
    borderless = [without_borders(model, chunk) for chunk in chunks]
    found = []
    for _ in range(_RUNS_PER_SEED):
        whole = _seconds(lambda: model.cost(genomes))
        bare = _seconds(lambda: [bare_gather_and_sum(places) for places in chunks])
        less = _seconds(lambda: [bare_gather_and_sum(places) for places in borderless])
        found.append(_Speeds(len(genomes) / whole, len(genomes) / bare, whole / bare, whole / less))
    return found


def _median(runs: list[list[_Speeds]]) -> _Speeds:
    every = [one for each in runs for one in each]
    return _Speeds(*(float(np.median([getattr(one, field.name) for one in every])) for field in fields(_Speeds)))


def _speed(model: CostModel, space: SearchSpace, n: int) -> float:
    genomes = space.sample(n, np.random.default_rng(n))
    return n / float(np.median([_seconds(lambda: model.cost(genomes)) for _ in range(_RUNS_PER_SEED)]))


def bare_gather_and_sum(places: Places) -> NDArray[np.float64]:
    """The sums of every cost over the slots, shape (n, costs)."""
    # As fast as one gather over all slots, and ten times as fast as torch's embedding bag in doubles.
    total = np.zeros((len(places[0][1]), places[0][0].shape[1]))
    for costs, rows in places:
        total += costs.take(rows, axis=0)
    return total


def without_borders(model: CostModel, places: Places) -> Places:
    """The same with one row a block, whatever follows, and without the column of peaks."""
    demands = model.tables.demands
    return [(np.ascontiguousarray(costs[::demands, :-1]), rows // demands) for costs, rows in places]


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1e9
