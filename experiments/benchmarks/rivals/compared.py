"""What is measured of rivals, held together: at equal latency, at equal accuracy, and as whole fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.best_below import meeting
from bitfront.experiments.benchmarks.equal_accuracy import MOST, MeasuredFront, ratios
from bitfront.experiments.benchmarks.rivals.names import OURS
from bitfront.search.hypervolume import hypervolume, reference_point

LATENCY = "latency_ms"
_POINTS = 5

Floats = NDArray[np.float64]
Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """Models of one method as deployed: accuracies on both splits and latency in ms, each (n,)."""

    valid: Floats
    test: Floats
    latency_ms: Floats

    @property
    def front(self) -> MeasuredFront:
        """Those that no other one beats both in accuracy on the validation split and in latency."""
        return MeasuredFront(self.valid, self.test, {LATENCY: self.latency_ms}).front(LATENCY)


def compared(seeds: Sequence[Mapping[str, Measured]]) -> list[Figures]:
    """Figures of each seed: `OURS` against every other method, and the hypervolume of each."""
    fronts = [{name: measured.front for name, measured in methods.items()} for methods in seeds]
    return [_against(each) | volumes for each, volumes in zip(fronts, hypervolumes(fronts), strict=True)]


def _against(fronts: Mapping[str, MeasuredFront]) -> Figures:
    figures: Figures = {}
    for name, front in fronts.items():
        if name != OURS:
            figures |= at_equal_latency(name, front, fronts[OURS])
            figures |= ratios(front, fronts[OURS], name, LATENCY)
            found = ratios(fronts[OURS], front, OURS, LATENCY)
            figures[f"{OURS}_equalled_by_{name}"] = found[f"{OURS}_{LATENCY}_equalled"]
    return figures


def at_equal_latency(name: str, rival: MeasuredFront, ours: MeasuredFront) -> Figures:
    """By how much our test accuracy is above the rival's, below each of a few latencies that both can meet.

    They are in equal ratios, from the least that both meet to the most of any. Below each, either side deploys the
    model that is best on the validation split. Negative where the rival is better.
    """
    costs = rival.costs[LATENCY], ours.costs[LATENCY]
    limits = np.geomspace(max(each.min() for each in costs), max(each.max() for each in costs), _POINTS)
    gains = [_best(ours, limit) - _best(rival, limit) for limit in limits]
    figures = {f"ours_over_{name}_gain": float(np.mean(gains)), f"ours_over_{name}_least_gain": min(gains)}
    for number, (limit, gain) in enumerate(zip(limits, gains, strict=True), start=1):
        figures |= {f"{name}_{LATENCY}_{number}": float(limit), f"ours_over_{name}_gain_{number}": gain}
    return figures


def _best(front: MeasuredFront, limit: float) -> float:
    met = meeting(front.costs[LATENCY], limit)
    return float(front.test[met[np.argmax(front.valid[met])]])


def hypervolumes(seeds: Sequence[Mapping[str, MeasuredFront]]) -> list[Figures]:
    """Of each seed shares of one box that all have: from the best that any reaches to beyond the worst of any."""
    objectives = [
        {name: np.stack([1.0 - front.test, front.costs[LATENCY]], axis=1) for name, front in fronts.items()}
        for fronts in seeds
    ]
    every = np.concatenate([F for each in objectives for F in each.values()])
    best = every.min(axis=0)
    reference = reference_point(every - best)
    return [
        {f"{name}_hypervolume": hypervolume(F - best, reference) for name, F in each.items()}
        for each in objectives
    ]


def goals(figures: Figures, rivals: Sequence[str]) -> list[str]:
    """Every rival runs; at equal latency we are at least as accurate, and at equal accuracy at least as fast.

    That most of a rival's networks have an equal of ours is a goal too: where none has, there is no ratio.
    """
    wanted = [
        goal
        for name in rivals
        for goal in (
            f"{name}_ran >= 1",
            f"ours_over_{name}_gain >= 0",
            f"{name}_{LATENCY}_equalled >= {MOST}",
            f"{name}_{LATENCY}_ratio >= 1",
        )
    ]
    return [goal for goal in wanted if goal.split()[0] in figures]
