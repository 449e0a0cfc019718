"""A joint front against fronts of parts of its space, at equal accuracy and equal true evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitfront.experiments.benchmarks.equal_accuracy import MeasuredFront, ratios
from bitfront.experiments.benchmarks.interval_plot import Line, intervals_figure
from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import DEVICES, searched, studied_spec
from bitfront.experiments.benchmarks.study import Study, study
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.space import SearchSpace

JOINT = "joint"
_METRIC = "latency_ms"
_MEASURED, _QUICK_MEASURED = 20, 6

Searches = Mapping[str, Sequence[tuple[SearchSpace, str]]]
"""By name the searches whose fronts count as one: a part of the space, and a strategy."""
RivalsOf = Callable[[Study], Searches]


@dataclass
class _Case:
    """One device: the metrics that it tells, figures of each seed, and the measured fronts of the first seed."""

    metrics: tuple[str, ...]
    figures: list[dict[str, float]] = field(default_factory=list)
    fronts: dict[str, MeasuredFront] = field(default_factory=dict)


def compared_fronts(
    bench: str,
    rivals_of: RivalsOf,
    metrics: Sequence[str],
    goals: Sequence[str],
    quick: bool,
    seeds: int,
    reporter: Reporter,
) -> BenchResult:
    """How many times as much rivals cost as the joint front where that is as accurate, on each device.

    A seed in which no member of a rival has an equal has no ratios. So it is a goal of its own that there is one
    in every seed, and a goal about a figure that no seed has fails by that one, and is told.

    Args:
        bench: its name.
        rivals_of: of a study, the searches that the joint one is compared with.
        metrics: those of which ratios are told, as far as the device has them; members are paired by latency.
        goals: with ``{device}`` in the place of a device's name.
        quick: a barely trained supernet on digits, on the first device alone.
        seeds: of the searches.
        reporter: who is told.
    """
    cases = {}
    for device in DEVICES[:1] if quick else DEVICES:
        with study(studied_spec(device, quick), reporter) as studied:
            cases[device] = _case(studied, rivals_of(studied), metrics, quick, seeds, reporter)
    figures: dict[str, float] = {}
    for device, case in cases.items():
        figures |= _summary(device.replace("-", "_"), case.figures)
    judged = [goal for device, case in cases.items() for goal in _judged(device, case, goals, figures, reporter)]
    panels = {
        device: {name: _line(front) for name, front in case.fronts.items()} for device, case in cases.items()
    }
    picture = intervals_figure(panels, "latency of the table, ms", "test accuracy, %")
    return BenchResult.of(bench, seeds, figures, judged, {"fronts": picture})


def _judged(
    device: str, case: _Case, goals: Sequence[str], figures: Mapping[str, float], reporter: Reporter
) -> list[str]:
    """The goals of a device that can be judged; of the others those are told that its costs would allow."""
    name = device.replace("-", "_")
    wanted = [goal.format(device=name) for goal in goals]
    known = [goal for goal in wanted if goal.split()[0] in figures]
    for goal in wanted:
        if goal not in known and any(metric in goal for metric in case.metrics):
            reporter.say(f"goal {goal!r} can not be judged: in no seed has the other front a member with an equal")
    return [*(f"{name}_{rival}_least_equals >= 1" for rival in case.fronts if rival != JOINT), *known]


def _case(
    studied: Study, rivals: Searches, metrics: Sequence[str], quick: bool, seeds: int, reporter: Reporter
) -> _Case:
    case = _Case(tuple(metric for metric in metrics if metric in studied.costs.names))
    progress = reporter.progress("searching and measuring")
    for seed in range(seeds):
        fronts = {
            name: _measured(studied, searches, quick, seed)
            for name, searches in {JOINT: [(studied.space, "nsga2")], **rivals}.items()
        }
        found: dict[str, float] = {}
        for name in rivals:
            found |= ratios(fronts[name], fronts[JOINT], name, case.metrics)
        case.figures.append(found)
        case.fronts = case.fronts or fronts
        progress(seed + 1, seeds)
    return case


def _measured(
    studied: Study, searches: Sequence[tuple[SearchSpace, str]], quick: bool, seed: int
) -> MeasuredFront:
    fronts = [searched(studied.predicting(space=space), strategy, quick, seed) for space, strategy in searches]
    return MeasuredFront.of(studied, fronts, _METRIC, _QUICK_MEASURED if quick else _MEASURED)


def _summary(device: str, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over the seeds that have a figure: where nothing is as accurate, there is no ratio.

    Of members with an equal there is also the least number of any seed.
    """
    figures: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = np.array([row[name] for row in rows if name in row])
        figures |= summarised(f"{device}_{name}", values)
        if name.endswith("_equals"):
            figures[f"{device}_{name.removesuffix('_equals')}_least_equals"] = float(values.min())
    return figures


def _line(front: MeasuredFront) -> Line:
    order = np.argsort(front.costs[_METRIC])
    return Line(front.costs[_METRIC][order], 100 * front.test[order], np.zeros(len(order)))
