"""Bits by an integer linear program: how long it takes, and whether its policy beats random ones of the same size.

Speed is of made-up tables as a network of 60 layers has them. Quality is of one trained network: its layers take
int8, int6 or int4 within a number of bytes half-way between the smallest and the largest policy. Sensitivities are
of training images; the random policies take 95 to 100 % of the bytes; all are measured on the test split, by which
nothing was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.policies import Choices, Policies, masked, total
from bitfront.experiments.benchmarks.pools import trained
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.search.constraints import Floats
from bitfront.search.executors.local import one_thread
from bitfront.search.ilp import allocate_bits
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.sensitivity import Sensitivity, by_hessian, by_probes

_POOLS, _QUICK_POOLS = ("digits", "fashion"), ("digits",)
_FORMATS = ("int8", "int6", "int4")
_BITS = np.array([8.0, 6.0, 4.0, 2.0])
_LAYERS, _PROGRAMS = 60, 10
_RANDOM, _QUICK_RANDOM = 100, 10
_FULLEST, _DRAWN_AT_ONCE = 0.95, 4096
_CALIBRATION_IMAGES = 1024
_KINDS = ("hessian", "probes")


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds draw the made-up tables, the probe vectors and the random policies."""
    figures: dict[str, float] = {}
    with one_thread():
        figures |= _speed(seeds)
        for name in _QUICK_POOLS if quick else _POOLS:
            figures |= _quality(name, _QUICK_RANDOM if quick else _RANDOM, seeds, quick, reporter)
    names = [name for name in figures if name.endswith("_beaten")]
    goals = ["median_seconds <= 0.2", *(f"{name} >= 1" for name in names)]
    return BenchResult.of("ilp", seeds, figures, goals)


def _speed(seeds: int) -> dict[str, float]:
    """Seconds for 60 layers, 4 formats and 3 limits."""
    wall, process = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for _ in range(_PROGRAMS):
            sensitivity, costs, limits = _made_up(rng)
            start, cpu = time.perf_counter(), time.process_time()
            found = allocate_bits(sensitivity, costs, limits)
            wall.append(time.perf_counter() - start)
            process.append(time.process_time() - cpu)
            assert found.optimal
    return {
        "median_seconds": float(np.median(wall)),
        "median_cpu_seconds": float(np.median(process)),
        "slowest_seconds": max(wall),
    }


def _made_up(rng: np.random.Generator) -> tuple[Floats, Mapping[str, Floats], Mapping[str, float]]:
    """Layers of very different sizes; two bits less cost some ten times more accuracy."""
    layers, scatter = (_LAYERS, 1), (_LAYERS, len(_BITS))
    sensitivity = rng.lognormal(0, 1.5, layers) * 10 ** (-_BITS / 2) * rng.lognormal(0, 0.3, scatter)
    costs = {
        "size_bytes": rng.integers(100, 50_000, layers) * _BITS / 8,
        "bitops": rng.lognormal(10, 1, layers) * _BITS**2,
        "latency_ms": rng.lognormal(0, 1, layers) * (_BITS + 2) * rng.lognormal(0, 0.2, scatter),
    }
    share = {"size_bytes": 0.55, "bitops": 0.45, "latency_ms": 0.55}
    return sensitivity, costs, {name: share[name] * float(values[:, 0].sum()) for name, values in costs.items()}


def _quality(name: str, n_random: int, seeds: int, quick: bool, reporter: Reporter) -> dict[str, float]:
    supernet, dataset = trained(name, reporter, quick)
    policies = Policies.of(supernet.space, supernet.space.extremes()[1], _FORMATS)
    evaluator = Evaluator(supernet, dataset, _CALIBRATION_IMAGES)
    blocks = supernet.space.blocks(policies.genome)
    probed = by_probes(evaluator, blocks, _FORMATS, progress=reporter.progress(f"probing layers of {name}"))
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        bent = by_hessian(evaluator, blocks, _FORMATS, rng)
        sizes = policies.bytes()
        limit = (float(np.nanmin(sizes, axis=1).sum()) + float(np.nanmax(sizes, axis=1).sum())) / 2
        chosen = [_allocated(policies, one, sizes, limit) for one in (bent, probed)]
        rivals = _random(policies, sizes, limit, n_random, rng)
        genomes = policies.genomes(np.concatenate([chosen, rivals]))
        progress = reporter.progress(f"measuring policies of {name}, seed {seed}")
        top1 = np.array([one.top1 for one in evaluator.evaluate(genomes, "test", progress)])
        for figure, value in _compared(top1[: len(_KINDS)], top1[len(_KINDS) :]):
            found.setdefault(f"{name}_{figure}", []).append(value)
    figures: dict[str, float] = {}
    for figure, values in found.items():
        figures |= summarised(figure, np.array(values))
    return figures


def _compared(chosen: NDArray[np.float64], rivals: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    yield "random_top1", float(rivals.mean())
    yield "best_random_top1", float(rivals.max())
    for kind, top1 in zip(_KINDS, chosen, strict=True):
        yield f"{kind}_top1", float(top1)
        yield f"{kind}_gain", float(top1 - rivals.mean())
        yield f"{kind}_beaten", float((rivals < top1).mean())


def _allocated(policies: Policies, sensitivity: Sensitivity, sizes: Floats, limit: float) -> Choices:
    found = allocate_bits(
        masked(sensitivity.values, policies), {"bytes": sizes}, {"bytes": limit}, policies.group_of.tolist()
    )
    choice = np.zeros(len(policies.genes), dtype=np.intp)
    choice[policies.group_of] = found.formats
    return choice


def _random(policies: Policies, sizes: Floats, limit: float, n: int, rng: np.random.Generator) -> Choices:
    """Policies (n, n_groups) that take nearly all bytes that they may."""
    found = np.empty((0, len(policies.genes)), dtype=np.intp)
    while len(found) < n:
        drawn = policies.sample(_DRAWN_AT_ONCE, rng)
        taken = total(sizes, policies, drawn)
        found = np.concatenate([found, drawn[(taken <= limit) & (taken >= _FULLEST * limit)]])
    return found[:n]
