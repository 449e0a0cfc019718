"""Joint fronts against fronts of parts of their space, at equal accuracy and equal true evaluations.

Each metric has searches of its own, of accuracy and that metric. A joint front reaches further than that of a part
of its space; of its members those are measured that are predicted to be as accurate as the rival's least accurate
one, and no more accurate than its most accurate one by more than ``_ROOM``, so that both are measured as densely
where they can be equal. What is more accurate than all of the rival has no equal, whatever it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitfront.experiments.benchmarks.equal_accuracy import MOST, MeasuredFront, ratios
from bitfront.experiments.benchmarks.interval_plot import Line, intervals_figure
from bitfront.experiments.benchmarks.intervals import over_seeds
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import DEVICES, budget_words, searched, studied_spec
from bitfront.experiments.benchmarks.study import Study, study
from bitfront.experiments.reporter import Reporter
from bitfront.search.front import Front
from bitfront.supernet.space import SearchSpace

JOINT = "joint"
_METRIC = "latency_ms"
_MEASURED, _QUICK_MEASURED = 20, 6
_ROOM = 0.005

Searches = Mapping[str, Sequence[tuple[SearchSpace, str]]]
"""By name the searches whose fronts count as one: a part of the space, and a strategy."""
RivalsOf = Callable[[Study], Searches]
_Pair = tuple[MeasuredFront, MeasuredFront]
"""A rival's, and the joint one."""


@dataclass
class _Case:
    """One device: the metrics that it tells, figures of each seed, and of the first seed the fronts of latency."""

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

    A seed in which no member of a rival has an equal has no ratios, and a ratio of few members says little. So it
    is a goal of its own that most have an equal; a goal about a figure that no seed has fails by that one, and is
    told.

    Args:
        bench: its name.
        rivals_of: of a study, the searches that the joint one is compared with.
        metrics: those of which ratios are told, as far as the device has them.
        goals: with ``{device}`` in the place of a device's name.
        quick: a barely trained supernet on digits, on the first device alone.
        seeds: of the searches.
        reporter: who is told.
    """
    cases = {}
    for device in DEVICES[:1] if quick else DEVICES:
        with study(studied_spec(device, quick), reporter) as studied:
            cases[device] = _case(studied, rivals_of(studied), metrics, quick, seeds, reporter)
    return _told(bench, cases, goals, quick, seeds)


def _told(bench: str, cases: Mapping[str, _Case], goals: Sequence[str], quick: bool, seeds: int) -> BenchResult:
    figures: dict[str, float] = {}
    for device, case in cases.items():
        figures |= over_seeds(case.figures, f"{device.replace('-', '_')}_")
    asked, notes = list[str](), [budget_words(quick), _measured_words(quick)]
    for device, case in cases.items():
        known, unknown = _judged(device, case, goals, figures)
        asked, notes = asked + known, notes + unknown
    panels = {
        device: {name: _line(front) for name, front in case.fronts.items()} for device, case in cases.items()
    }
    picture = intervals_figure(panels, "latency of the table, ms", "test accuracy, %")
    return BenchResult.of(bench, seeds, figures, asked, {"fronts": picture}, notes)


def _measured_words(quick: bool) -> str:
    most = _QUICK_MEASURED if quick else _MEASURED
    return (
        f"Of each front up to {most} members are measured, as many of each search where several make it. Of joint "
        "ones those count that are predicted to be as accurate as the rival's least accurate one, and up to "
        f"{100 * _ROOM:g} points above its most accurate one."
    )


def _judged(
    device: str, case: _Case, goals: Sequence[str], figures: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """The goals of a device that can be judged, and words about those others that its costs would allow."""
    name = device.replace("-", "_")
    wanted = [goal.format(device=name) for goal in goals]
    known = [goal for goal in wanted if goal.split()[0] in figures]
    notes = [
        f"The goal {goal!r} can not be judged: in no seed has the other front a member with an equal."
        for goal in wanted
        if goal not in known and any(metric in goal for metric in case.metrics)
    ]
    rivals = [rival for rival in case.fronts if rival != JOINT]
    equalled = [f"{name}_{rival}_{metric}_equalled >= {MOST}" for rival in rivals for metric in case.metrics]
    return equalled + known, notes


def _case(
    studied: Study, rivals: Searches, metrics: Sequence[str], quick: bool, seeds: int, reporter: Reporter
) -> _Case:
    case = _Case(tuple(metric for metric in metrics if metric in studied.costs.names))
    progress = reporter.progress("searching and measuring")
    for seed in range(seeds):
        found: dict[str, float] = {}
        for done, metric in enumerate(case.metrics, start=1):
            pairs = _pairs(studied, rivals, metric, quick, seed)
            for name, (theirs, ours) in pairs.items():
                found |= ratios(theirs, ours, name, metric)
            if metric == _METRIC:
                case.fronts = case.fronts or _drawn(pairs)
            progress(seed * len(case.metrics) + done, seeds * len(case.metrics))
        case.figures.append(found)
    return case


def _pairs(studied: Study, rivals: Searches, metric: str, quick: bool, seed: int) -> dict[str, _Pair]:
    """Of each rival its measured front, and the joint one where that may be as accurate."""
    objectives, most = ("top1", metric), _QUICK_MEASURED if quick else _MEASURED

    def front(space: SearchSpace, strategy: str) -> Front:
        return searched(studied.predicting(objectives, space), strategy, quick, seed)

    joint, pairs = front(studied.space, "nsga2"), {}
    for name, searches in rivals.items():
        theirs = [front(*each) for each in searches]
        least = min(float(one.predicted["top1"].min()) for one in theirs)
        room = _ROOM + max(float(one.predicted["top1"].max()) for one in theirs)
        pairs[name] = (
            MeasuredFront.of(studied, theirs, metric, most),
            MeasuredFront.of(studied, [joint], metric, most, least, room),
        )
    return pairs


def _drawn(pairs: Mapping[str, _Pair]) -> dict[str, MeasuredFront]:
    joint = MeasuredFront.together([ours for _, ours in pairs.values()], _METRIC)
    return {JOINT: joint} | {name: theirs for name, (theirs, _) in pairs.items()}


def _line(front: MeasuredFront) -> Line:
    order = np.argsort(front.costs[_METRIC])
    return Line(front.costs[_METRIC][order], 100 * front.test[order], np.zeros(len(order)))
