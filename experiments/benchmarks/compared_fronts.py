"""Joint fronts against fronts of parts of their space, at equal accuracy and equal true evaluations.

Each metric has searches of its own, of accuracy and that metric. A joint front reaches further than that of a part
of its space; of its members those are measured that are predicted to be as accurate as the rival's least accurate
one, and no more accurate than its most accurate one by more than ``_ROOM``, so that both are measured as densely
where they can be equal. What is more accurate than all of the rival has no equal, whatever it costs.
"""

from __future__ import annotations

import itertools
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
_WORDS = {"latency_ms": "latency", "energy_mj": "energy", "size_bytes": "size"}
_METRIC = "latency_ms"
_MEASURED, _QUICK_MEASURED = 20, 6
_ROOM = 0.005

Searches = Mapping[str, Sequence[tuple[SearchSpace, str]]]
"""By name the searches whose fronts count as one: a part of the space, and a strategy."""
RivalsOf = Callable[[Study], Searches]
_Row = dict[str, float]
"""Figures of one seed."""
_Pair = tuple[MeasuredFront, MeasuredFront]
"""A rival's, and the joint one."""


@dataclass
class _Case:
    """One device: the metrics that it tells, figures of each seed, and of the first seed the fronts of latency.

    Joint ones are as many as there are rivals: of each those members that were measured beside it.
    """

    metrics: tuple[str, ...]
    figures: list[_Row] = field(default_factory=list)
    fronts: dict[str, list[MeasuredFront]] = field(default_factory=dict)


def compared_fronts(
    bench: str,
    rivals_of: RivalsOf,
    names: Mapping[str, str],
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
        names: what each rival is called where people read it.
        metrics: those of which ratios are told, as far as the device has them: of latency, energy and size.
        goals: with ``{device}`` in the place of a device's name.
        quick: a barely trained supernet on digits, on the first device alone.
        seeds: of the searches.
        reporter: who is told.
    """
    cases = {}
    for device in DEVICES[:1] if quick else DEVICES:
        with study(studied_spec(device, quick), reporter) as studied:
            cases[device] = _case(studied, rivals_of(studied), metrics, quick, seeds, reporter)
    return _told(bench, cases, names, goals, quick, seeds)


def _told(
    bench: str,
    cases: Mapping[str, _Case],
    names: Mapping[str, str],
    goals: Sequence[str],
    quick: bool,
    seeds: int,
) -> BenchResult:
    figures: dict[str, float] = {}
    for device, case in cases.items():
        figures |= over_seeds(case.figures, f"{device.replace('-', '_')}_")
    asked, notes = list[str](), [budget_words(quick), _measured_words(quick)]
    for device, case in cases.items():
        known, unknown = _judged(device, case, names, goals, figures)
        asked, notes = asked + known, notes + unknown
    called = {JOINT: "joint search", **names}
    panels = {
        device: {called[name]: _line(fronts) for name, fronts in case.fronts.items()}
        for device, case in cases.items()
    }
    picture = intervals_figure(panels, "latency of the table, ms", "test accuracy, %")
    return BenchResult.of(bench, seeds, figures, asked, {"fronts": picture}, notes)


def _measured_words(quick: bool) -> str:
    most = _QUICK_MEASURED if quick else _MEASURED
    return (
        f"Of each front up to {most} members are measured, as many of each search where several make it. Of joint "
        "ones those count that are predicted to be as accurate as the rival's least accurate one, and up to "
        f"{100 * _ROOM:g} points above its most accurate one; whatever else a joint front reaches was not "
        "measured. The picture shows what was, where latency is searched for, in the first seed."
    )


def _judged(
    device: str, case: _Case, names: Mapping[str, str], goals: Sequence[str], figures: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """The goals of a device that can be judged, and words about those others that its costs would allow."""
    name = device.replace("-", "_")
    wanted = [goal.format(device=name) for goal in goals]
    known = [goal for goal in wanted if goal.split()[0] in figures]
    pairs = list(itertools.product(names, case.metrics))
    notes = [
        f"{device}: no joint network is as accurate as any one of its rival ({names[rival]}), in any seed, so "
        f"that nothing can be judged of {_WORDS[metric]} at equal accuracy."
        for rival, metric in pairs
        if any(goal.startswith(f"{name}_{rival}_{metric}_") for goal in set(wanted).difference(known))
    ]
    return [f"{name}_{rival}_{metric}_equalled >= {MOST}" for rival, metric in pairs] + known, notes


def _case(
    studied: Study, rivals: Searches, metrics: Sequence[str], quick: bool, seeds: int, reporter: Reporter
) -> _Case:
    case = _Case(tuple(metric for metric in metrics if metric in studied.costs.names))
    progress = reporter.progress("searching and measuring")
    for seed in range(seeds):
        found: _Row = {}
        for done, metric in enumerate(case.metrics, start=1):
            pairs = _pairs(studied, rivals, metric, quick, seed)
            for name, (theirs, ours) in pairs.items():
                found |= ratios(theirs, ours, name, metric) | _shares(theirs, rivals[name], name, metric)
            if metric == _METRIC:
                case.fronts = case.fronts or _drawn(pairs)
            progress(seed * len(case.metrics) + done, seeds * len(case.metrics))
        case.figures.append(found)
    return case


def _shares(front: MeasuredFront, searches: Sequence[tuple[SearchSpace, str]], name: str, metric: str) -> _Row:
    """Of several searches whose measured front is one, which share of it each put forward: together 1 or more."""
    if len(searches) == 1 or front.offered is None:
        return {}
    shares = front.offered.mean(axis=0)
    return {
        f"{name}_{metric}_of_{strategy}": float(share)
        for (_, strategy), share in zip(searches, shares, strict=True)
    }


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


def _drawn(pairs: Mapping[str, _Pair]) -> dict[str, list[MeasuredFront]]:
    joint = [ours for _, ours in pairs.values()]
    return {JOINT: joint} | {name: [theirs] for name, (theirs, _) in pairs.items()}


def _line(fronts: Sequence[MeasuredFront]) -> Line:
    """Not joined from one front to the next: what is between them was not measured."""
    orders = [np.argsort(front.costs[_METRIC]) for front in fronts]
    return Line.broken(
        [
            (front.costs[_METRIC][order], 100 * front.test[order])
            for front, order in zip(fronts, orders, strict=True)
        ]
    )
