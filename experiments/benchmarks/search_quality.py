"""How good are the fronts that the search finds? Against the true one, and against other searches.

A small space is enumerated: what share of the true front's hypervolume do 3 % of the evaluations find? In
``proxyless``, with the table that APQ published (Wang et al., CVPR 2020; without it, with modelled BitFusion, and
the figure ``published_table`` is 0), stock pymoo NSGA-II, Optuna's NSGA-II sampler, aging evolution and random
sampling score as many different candidates; pymoo a second time, with steps that suit integers. Our search begins
with the corners of the space in each format as it does by default, which no rival knows of, and a second time
without them: what is then left is due to how it goes on. Accuracy is made up but fixed, and genes interact
(`SyntheticAccuracy`). Hypervolumes are measured from the best that any search found of each objective to the worst
of many random candidates.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.search_rivals import RIVALS, all_scored
from bitfront.experiments.benchmarks.synthetic_accuracy import SyntheticAccuracy
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.imports.table import imported_table
from bitfront.search import search
from bitfront.search.archive import non_dominated
from bitfront.search.hypervolume import hypervolume
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_OBJECTIVES = ("top1", "latency_ms", "energy_mj")
_ACCURACY, _POPULATION = 1, 100
_EVALUATIONS, _QUICK_EVALUATIONS = 10_000, 400
_SHARE = 0.03
_FREE_GENES, _QUICK_FREE_GENES = 13, 8
_PROBES = 10_000
_TABLE = Path("apq") / "BitFusion_new.b1.dict"
_GOALS = (
    "enumerated_share_of_true_hypervolume >= 0.99",
    "seeds_above_every_rival >= {most}",
    "times_best_rival >= 1.02",
    "unseeded_seeds_above_every_rival >= {most}",
    "unseeded_times_best_rival >= 1.02",
)
_FULL_GOALS = ("enumerated_points >= 200000",)

Floats = NDArray[np.float64]


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed is a search of its own; the accuracy is the same."""
    figures = enumerated(_QUICK_FREE_GENES if quick else _FREE_GENES, seeds, reporter)
    problem, published = large_problem("digits" if quick else "proxyless", reporter)
    evaluations = _QUICK_EVALUATIONS if quick else _EVALUATIONS
    figures |= {"published_table": float(published), **against_rivals(problem, evaluations, seeds, reporter)}
    goals = [goal.format(most=-(-4 * seeds // 5)) for goal in (*(() if quick else _FULL_GOALS), *_GOALS)]
    return BenchResult.of("search-quality", seeds, figures, goals)


def enumerated(free: int, seeds: int, reporter: Reporter) -> dict[str, float]:
    """What share of the true hypervolume is found, the least over seeds."""
    device = bitfusion()
    space = small_space(device.restrict(SPACES.get("digits")()), free)
    problem = Problem(space, _OBJECTIVES, SyntheticAccuracy(space, _ACCURACY), device.compile(space).cost)
    reporter.say(f"scoring all {space.size()} points of a small space")
    F = problem.evaluate(every_genome(space)).F
    front, evaluations = F[non_dominated(F)], int(_SHARE * len(F))
    lowest, highest = front.min(axis=0), F.max(axis=0)
    true = measured(front, lowest, highest)
    shares = [measured(ours(problem, evaluations, seed), lowest, highest) / true for seed in range(seeds)]
    return {
        "enumerated_points": float(len(F)),
        "enumerated_evaluations": float(evaluations),
        "enumerated_share_of_true_hypervolume": min(shares),
    }


def small_space(space: SearchSpace, free: int) -> SearchSpace:
    """The first ``free`` genes that are always active vary, the others stay as in the largest network."""
    always = space.active(np.zeros((1, space.n_genes), dtype=np.uint8))[0]
    names = [g.name for i, g in enumerate(space.genes) if always[i] and len(space.allowed_choices(g.name)) > 1]
    kept, base = set(names[:free]), space.extremes()[1]
    return space.restrict({g.name: [g.choices[base[i]]] for i, g in enumerate(space.genes) if g.name not in kept})


def every_genome(space: SearchSpace) -> Genomes:
    """All canonical genomes, shape (size, n_genes)."""
    number = np.arange(int(np.prod([len(group.rows) for group in space.groups])))
    genomes = np.zeros((len(number), space.n_genes), dtype=np.uint8)
    for group in space.groups:
        genomes[:, group.members] = group.rows[number % len(group.rows)]
        number //= len(group.rows)
    unique: Genomes = np.unique(space.canonical(genomes), axis=0)
    return unique


def large_problem(name: str, reporter: Reporter) -> tuple[Problem, bool]:
    """The problem, and whether its costs are those of the published table."""
    whole = SPACES.get(name)()
    place = Path(os.environ.get("BITFRONT_DATA", Path.cwd().parent / "shared" / "data")) / _TABLE
    published = name == "proxyless" and place.exists()
    device: Device = bitfusion()
    with tempfile.TemporaryDirectory() as folder:
        if published:
            kept = Path(folder) / "table.json"
            imported_table(IMPORTERS.get("apq")(place, whole), whole, "bitfusion_apq").save(kept)
            device = ImportedDevice(str(kept))
        else:
            reporter.say("costs are those of modelled BitFusion, not of the published table")
        space = device.restrict(whole)
        cost = device.compile(space).cost
    return Problem(space, _OBJECTIVES, SyntheticAccuracy(space, _ACCURACY), cost), published


def against_rivals(problem: Problem, evaluations: int, seeds: int, reporter: Reporter) -> dict[str, float]:
    """Hypervolumes and processor seconds of all searches, means over seeds, and how ours stands to the best."""
    names, progress = ("ours", "ours_unseeded", *RIVALS), reporter.progress("searching")
    fronts: dict[str, list[Floats]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for seed in range(seeds):
        for name in names:
            start = time.process_time()
            fronts[name].append(searched(name, problem, evaluations, seed))
            seconds[name] += time.process_time() - start
        progress(seed + 1, seeds)
    return {
        "evaluations": float(evaluations),
        **{f"seconds_{name}": spent / seeds for name, spent in seconds.items()},
        **compared(fronts, problem.evaluate(problem.space.sample(_PROBES, np.random.default_rng(0))).F),
    }


def compared(fronts: dict[str, list[Floats]], probes: Floats) -> dict[str, float]:
    """Hypervolumes of fronts by search, one a seed, and how ``ours`` stands to the best of the others."""
    lowest = np.concatenate([front for each in fronts.values() for front in each]).min(axis=0)
    highest = probes.max(axis=0)
    volumes = {name: np.array([measured(F, lowest, highest) for F in each]) for name, each in fronts.items()}
    best = np.max([each for name, each in volumes.items() if not name.startswith("ours")], axis=0)
    figures = {f"hypervolume_{name}": float(each.mean()) for name, each in volumes.items()}
    for name, way in (("", "ours"), ("unseeded_", "ours_unseeded")):
        times = volumes[way] / best
        figures |= {
            f"{name}seeds_above_every_rival": float((times > 1).sum()),
            f"{name}times_best_rival": float(times.mean()),
            f"{name}times_best_rival_least": float(times.min()),
        }
    return figures


def searched(name: str, problem: Problem, evaluations: int, seed: int) -> Floats:
    """The front (n, m) that a search finds."""
    if name == "ours":
        return ours(problem, evaluations, seed)
    if name == "ours_unseeded":
        return ours(problem, evaluations, seed, seeds="none")
    F = all_scored(RIVALS[name], problem, evaluations, _POPULATION, seed)
    return F[non_dominated(F)]


def ours(problem: Problem, evaluations: int, seed: int, seeds: str = "uniform") -> Floats:
    """The front (n, m) that our search finds, with or without candidates that it begins with."""
    rng, options = np.random.default_rng(seed), {"population": _POPULATION, "seeds": seeds}
    return search(problem, "nsga2", rng=rng, evaluations=evaluations, options=options).F


def measured(F: Floats, lowest: Floats, highest: Floats) -> float:
    """Share of the box from ``lowest`` to ``highest`` that ``F`` dominates."""
    return hypervolume(F - lowest, highest - lowest)
