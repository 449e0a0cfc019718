"""Joint against sequential search on real data: what each puts on a device, at equal true evaluations.

The supernet, the samples that are truly measured and the predictor that is fitted to them are the same for both;
then both score as many candidates by prediction, and of those that they found below each of a few latencies, a few
are measured on the validation split. The best of all that were measured below this latency or a lower one is
measured on the test split. Wang et al. (APQ, CVPR 2020) found 2.3 points between a joint search and one of
architecture, then pruning, then bits.

A gain counts where it is beyond what another draw of seeds, and another draw of test images, would change.

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
from bitfront.experiments.benchmarks.right_answers import right_answers
from bitfront.experiments.benchmarks.studied import DEVICES, budget_words, searched, studied_spec
from bitfront.experiments.benchmarks.study import Study, study
from bitfront.experiments.benchmarks.tasks import tasks, words
from bitfront.experiments.reporter import Reporter
from bitfront.search.front import Front
from bitfront.search.strategies.sequential import Sequential
from bitfront.supernet.genes import Genomes

_POINTS = 5
_METRIC = "latency_ms"
_CARRIED = inspect.signature(Sequential).parameters["carried"].default
STRATEGIES = {"joint": "nsga2", "sequential": "sequential"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """What is deployed below a few latencies.

    Attributes:
        limits: the latencies, (n_points,).
        top1: by strategy its test accuracies, (n_seeds, n_points).
        right: by strategy the share of seeds that are right about each test image, (n_points, n_images).
    """

    limits: Floats
    top1: dict[str, Floats]
    right: dict[str, Floats]

    @property
    def gain(self) -> Floats:
        """By how much joint search is more accurate, (n_seeds, n_points)."""
        return self.top1["joint"] - self.top1["sequential"]

    @property
    def half_over_images(self) -> Floats:
        """Half of the interval of each point's mean gain, (n_points,), as the test images are a sample too.

        Seeds that all find the same two networks say nothing of how much of the gain is theirs.
        """
        return np.array([half_interval(image) for image in self.right["joint"] - self.right["sequential"]])

    @property
    def points_where_joint_is_better(self) -> int:
        """At how many the mean gain is beyond its interval over seeds, and beyond that over images."""
        over_seeds = np.array([half_interval(point) for point in self.gain.T])
        return int((self.gain.mean(axis=0) > np.maximum(over_seeds, self.half_over_images)).sum())


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
        "A gain is beyond its interval where it is above half of its 95 % interval over seeds, and above half of "
        "that over test images, of the mean of all seeds.",
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
    deployed = {
        name: np.stack([best_below(studied, front, _METRIC, limits) for front in each])
        for name, each in fronts.items()
    }
    top1 = {name: np.stack([studied.top1(one, "test") for one in each]) for name, each in deployed.items()}
    return Compared(limits, top1, _right(studied, deployed, reporter))


def _right(studied: Study, deployed: dict[str, Genomes], reporter: Reporter) -> dict[str, Floats]:
    """Shares of seeds, (n_points, n_images), of genomes (n_seeds, n_points, n_genes)."""
    every = np.concatenate(list(deployed.values()))
    unique, place = np.unique(every.reshape(-1, every.shape[-1]), axis=0, return_inverse=True)
    right = right_answers(studied.ground.evaluator, unique, "test", reporter.progress("asking what is deployed"))
    places = place.reshape(len(deployed), -1, every.shape[1])
    return {name: right[each].mean(axis=0) for name, each in zip(deployed, places, strict=True)}


def _figures(name: str, compared: Compared) -> dict[str, float]:
    gain, half_over_images = compared.gain, compared.half_over_images
    figures: dict[str, float] = {}
    for point, limit in enumerate(compared.limits):
        figures[f"{name}_latency_ms_{point + 1}"] = float(limit)
        for strategy, top1 in compared.top1.items():
            figures |= summarised(f"{name}_{strategy}_test_top1_{point + 1}", top1[:, point])
        figures |= summarised(f"{name}_joint_gain_{point + 1}", gain[:, point])
        figures[f"{name}_joint_gain_{point + 1}_over_images_half_interval"] = float(half_over_images[point])
    return (
        figures
        | summarised(f"{name}_joint_gain", gain.mean(axis=1))
        | {
            f"{name}_largest_joint_gain": float(gain.mean(axis=0).max()),
            f"{name}_points_where_joint_is_better": float(compared.points_where_joint_is_better),
        }
    )


def _lines(compared: Compared) -> dict[str, Line]:
    return {
        name: Line(
            compared.limits, 100 * top1.mean(axis=0), 100 * np.array([half_interval(column) for column in top1.T])
        )
        for name, top1 in compared.top1.items()
    }
