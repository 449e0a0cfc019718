"""One family of networks for several devices: what is lost where a network was searched for another device.

All devices have the supernet, its samples and its predictor in common; each has a front of its own. Then the
networks that were found for a device go to each of the others, in the formats that these execute (see `promoted`):
their accuracy is measured anew, their latency is what the table of that device says. Below the same latencies of
a device, what is the best test accuracy of another device's networks worth against its own's? And how much slower
are they where they are as accurate? The validation split chooses, as it does for whoever deploys a network; the
test split is only reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.best_below import best_below, common_limits
from bitfront.experiments.benchmarks.equal_accuracy import MOST, MeasuredFront, ratios
from bitfront.experiments.benchmarks.intervals import over_seeds
from bitfront.experiments.benchmarks.matrix_plot import Matrix, matrices_figure
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import FAMILY, budget_words, family_spec, searched
from bitfront.experiments.benchmarks.study import OBJECTIVES, Study, studies
from bitfront.experiments.reporter import Reporter
from bitfront.search.front import Front
from bitfront.search.problem import Problem
from bitfront.search.promoted import promoted

_METRIC = "latency_ms"
_POINTS = 3
_BELOW = 3  # candidates below each latency that are measured
_MEASURED = 6  # members of each front, beside those, for the comparison at equal accuracy
_QUICK_DEVICES = 2  # the modelled ones, which stand first
_LOST_REACH, _SLOWER_REACH = 0.5, 0.5
"""In points, and in times: what the darkest colour of the pictures means at least."""
_GOALS = ("mean_top1_lost_at_least > 0", f"least_equalled >= {MOST}")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crossed:
    """A front that was found for one device, as it is on another one.

    Attributes:
        front: its members in formats that the other device executes, with what is predicted of them there.
        changed: the share of members that had to change, 0 to 1.
    """

    front: Front
    changed: float

    @classmethod
    def of(cls, study: Study, problem: Problem, front: Front) -> Self:
        """``front`` on the study's device, for which ``problem`` predicts; members that become equal are one."""
        genomes = promoted(study.space, front.genomes)
        changed = float((genomes != front.genomes).any(axis=1).mean())
        genomes = np.unique(genomes, axis=0)
        return cls(Front.of(OBJECTIVES, genomes, problem.evaluate(genomes).metrics), changed)


@dataclass(frozen=True)
class OnDevice:
    """What runs on one device, by the device that it was found for.

    Attributes:
        limits: latencies of this device, (n_points,).
        top1: test accuracy of what is deployed below each, (n_seeds, n_points).
        measured: a measured front a seed.
        changed: the share of networks that had to change, (n_seeds,).
    """

    limits: Floats
    top1: Mapping[str, Floats]
    measured: Mapping[str, Sequence[MeasuredFront]]
    changed: Mapping[str, Floats]

    @classmethod
    def of(cls, study: Study, fronts: Mapping[str, Sequence[Front]], step: Callable[[], None]) -> Self:
        """Fronts a seed, by the device that they were found for, on the study's device.

        ``step`` is called after each front.
        """
        problem = study.predicting()
        crossed = {
            source: [Crossed.of(study, problem, front) for front in each] for source, each in fronts.items()
        }
        limits = common_limits([one.front for each in crossed.values() for one in each], _METRIC, _POINTS)
        top1: dict[str, list[Floats]] = {source: [] for source in crossed}
        measured: dict[str, list[MeasuredFront]] = {source: [] for source in crossed}
        for source, each in crossed.items():
            for one in each:
                deployed = best_below(study, one.front, _METRIC, limits, _BELOW)
                top1[source].append(study.top1(deployed, "test"))
                measured[source].append(MeasuredFront.of(study, [one.front], _METRIC, _MEASURED, also=[deployed]))
                step()
        return cls(
            limits,
            {source: np.stack(rows) for source, rows in top1.items()},
            measured,
            {source: np.array([one.changed for one in each]) for source, each in crossed.items()},
        )


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches. Quick: a barely trained supernet on digits, on modelled devices alone."""
    devices = FAMILY[:_QUICK_DEVICES] if quick else FAMILY
    with studies(family_spec(devices, quick), reporter) as family:
        found = _crossed(family, quick, seeds, reporter)
    rows = [row_of(found, seed) for seed in range(seeds)]
    figures = _figures(found, rows)
    notes = [budget_words(quick)] + [
        f"On {target}, nothing of its own front is as accurate as a network for {source}."
        for source, target in _pairs(devices)
        if f"{_name(source, target)}_{_METRIC}_ratio" not in figures
    ]
    return BenchResult.of("one-family", seeds, figures, _GOALS, {"losses": _picture(devices, figures)}, notes)


def _crossed(family: Mapping[str, Study], quick: bool, seeds: int, reporter: Reporter) -> dict[str, OnDevice]:
    fronts = {
        name: [searched(study.predicting(), "nsga2", quick, seed) for seed in range(seeds)]
        for name, study in family.items()
    }
    progress, total = reporter.progress("measuring fronts on devices"), seeds * len(family) ** 2
    done = itertools.count(1)
    return {
        name: OnDevice.of(study, fronts, lambda: progress(next(done), total)) for name, study in family.items()
    }


def row_of(found: Mapping[str, OnDevice], seed: int) -> dict[str, float]:
    """Figures of one seed: of each pair of devices, and over all pairs."""
    row: dict[str, float] = {}
    for source, target in _pairs(found):
        on, name = found[target], _name(source, target)
        own, other = on.measured[target][seed], on.measured[source][seed]
        lost = on.top1[target][seed] - on.top1[source][seed]
        row[f"{name}_top1_lost"] = float(lost.mean())
        row[f"{name}_changed"] = float(on.changed[source][seed])
        row |= ratios(other, own, name, _METRIC)
    lost_of_all = [value for name, value in row.items() if name.endswith("_top1_lost")]
    return row | {"mean_top1_lost": float(np.mean(lost_of_all))}


def _figures(found: Mapping[str, OnDevice], rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over the seeds that have a figure, and the extremes of the pairs' means."""
    figures: dict[str, float] = {}
    for target, on in found.items():
        for point, limit in enumerate(on.limits):
            figures[f"{_plain(target)}_{_METRIC}_{point + 1}"] = float(limit)
    figures |= over_seeds(rows)
    pairs = [_name(*pair) for pair in _pairs(found)]
    figures["largest_top1_lost"] = max(figures[f"{pair}_top1_lost"] for pair in pairs)
    figures["mean_top1_lost_at_least"] = figures["mean_top1_lost"] - figures.get(
        "mean_top1_lost_half_interval", 0.0
    )
    figures["pairs_that_gain"] = float(sum(figures[f"{pair}_top1_lost"] < 0 for pair in pairs))
    figures["least_equalled"] = min(row[f"{pair}_{_METRIC}_equalled"] for pair in pairs for row in rows)
    known = [figures[f"{pair}_{_METRIC}_ratio"] for pair in pairs if f"{pair}_{_METRIC}_ratio" in figures]
    return figures | ({"largest_latency_ratio": max(known)} if known else {})


def _picture(devices: Sequence[str], figures: Mapping[str, float]) -> bytes:
    def matrix(figure: str, scale: float, own: float, least_reach: float, form: str) -> Matrix:
        values, half = np.full((2, len(devices), len(devices)), np.nan)
        np.fill_diagonal(values, own)
        for source, target in _pairs(devices):
            place, name = (devices.index(source), devices.index(target)), f"{_name(source, target)}_{figure}"
            values[place] = scale * figures.get(name, np.nan)
            half[place] = scale * figures.get(f"{name}_half_interval", np.nan)
        return Matrix(values, half, own, least_reach, form)

    panels = {
        "points of test accuracy lost at equal latency": matrix("top1_lost", 100, 0.0, _LOST_REACH, "{:+.2f}"),
        "times the latency at equal accuracy": matrix(f"{_METRIC}_ratio", 1, 1.0, _SLOWER_REACH, "{:.2f}"),
    }
    return matrices_figure(panels, devices, "found for", "runs on")


def _pairs(devices: Iterable[str]) -> list[tuple[str, str]]:
    """(The device that networks were found for, another one that they run on)."""
    return list(itertools.permutations(devices, 2))


def _name(source: str, target: str) -> str:
    return f"{_plain(source)}_on_{_plain(target)}"


def _plain(device: str) -> str:
    return device.replace("-", "_")
