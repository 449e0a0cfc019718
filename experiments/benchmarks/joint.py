"""Joint against sequential search on real data: what each puts on a device, at equal true evaluations.

The supernet, the samples that are truly measured and the predictor that is fitted to them are the same for both;
then both score as many candidates by prediction, and of those that they found below each of a few latencies, a few
are measured on the validation split. The best of all that were measured below this latency or a lower one is
measured on the test split. Wang et al. (APQ, CVPR 2020) found 2.3 points between a joint search and one of
architecture, then pruning, then bits.

`sequential` is the same NSGA-II over the genes of each phase in turn (see `search.strategies.sequential`).
"""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.best_below import MEASURED, best_below, common_limits
from bitfront.experiments.benchmarks.interval_plot import Line, intervals_figure
from bitfront.experiments.benchmarks.intervals import half_interval, summarised
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import DEVICES, budget_words, searched, studied_spec
from bitfront.experiments.benchmarks.study import Study, study
from bitfront.experiments.benchmarks.tasks import tasks, words
from bitfront.experiments.reporter import Reporter
from bitfront.search.front import Front
from bitfront.search.strategies.sequential import Sequential

_POINTS = 5
_METRIC = "latency_ms"
_CARRIED = inspect.signature(Sequential).parameters["carried"].default
STRATEGIES = {"joint": "nsga2", "sequential": "sequential"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """Latencies (n_points,), and by strategy test accuracies (n_seeds, n_points) below them."""

    limits: Floats
    top1: dict[str, Floats]


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches. Quick: a barely trained supernet on digits, on modelled BitFusion alone."""
    known, devices, found = tasks(quick), DEVICES[:1] if quick else DEVICES, {}
    for task, device in itertools.product(
        reversed(known), devices
    ):  # what is not ours fails before hours are spent
        with study(studied_spec(device, quick, **task.sections), reporter) as studied:
            found[task.name, device] = _compared(studied, quick, seeds, reporter)
    figures: dict[str, float] = {}
    goals, panels = [], {}
    for task, device in itertools.product(known, devices):
        name, compared = f"{task.name}_{device.replace('-', '_')}", found[task.name, device]
        figures |= _figures(name, compared)
        goals.append(f"{name}_points_where_joint_is_better >= 3")
        panels[f"{task.name}, {device}"] = _lines(compared)
    picture = intervals_figure(panels, "latency of the table, ms", "test accuracy, %")
    notes = [
        budget_words(quick),
        f"Below each latency up to {MEASURED} candidates of each search are measured, those predicted best. "
        "What is deployed there is chosen from these and from those that were measured below lower latencies.",
        f"The sequential search hands {_CARRIED} networks that lie apart from step to step.",
    ]
    notes += [] if quick else [words(known)]
    return BenchResult.of("joint", seeds, figures, goals, {"accuracy": picture}, notes)


def _compared(studied: Study, quick: bool, seeds: int, reporter: Reporter) -> Compared:
    problem, progress = studied.predicting(), reporter.progress("searching")
    fronts: dict[str, list[Front]] = {name: [] for name in STRATEGIES}
    for seed in range(seeds):
        for name, strategy in STRATEGIES.items():
            fronts[name].append(searched(problem, strategy, quick, seed))
        progress(seed + 1, seeds)
    limits = common_limits([front for each in fronts.values() for front in each], _METRIC, _POINTS)
    top1 = {
        name: np.stack([studied.top1(best_below(studied, front, _METRIC, limits), "test") for front in each])
        for name, each in fronts.items()
    }
    return Compared(limits, top1)


def _figures(name: str, compared: Compared) -> dict[str, float]:
    gain = compared.top1["joint"] - compared.top1["sequential"]
    figures: dict[str, float] = {}
    for point, limit in enumerate(compared.limits):
        figures[f"{name}_latency_ms_{point + 1}"] = float(limit)
        for strategy, top1 in compared.top1.items():
            figures |= summarised(f"{name}_{strategy}_test_top1_{point + 1}", top1[:, point])
        figures |= summarised(f"{name}_joint_gain_{point + 1}", gain[:, point])
    better = float(sum(point.mean() > half_interval(point) for point in gain.T))
    return (
        figures
        | summarised(f"{name}_joint_gain", gain.mean(axis=1))
        | {
            f"{name}_largest_joint_gain": float(gain.mean(axis=0).max()),
            f"{name}_points_where_joint_is_better": better,
        }
    )


def _lines(compared: Compared) -> dict[str, Line]:
    return {
        name: Line(
            compared.limits, 100 * top1.mean(axis=0), 100 * np.array([half_interval(column) for column in top1.T])
        )
        for name, top1 in compared.top1.items()
    }
