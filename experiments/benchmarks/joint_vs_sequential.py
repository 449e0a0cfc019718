"""Does searching architecture, pruning and bits together beat searching them one after the other?

Both searches have the same number of true evaluations: each candidate's accuracy is measured on the whole
validation split of digits, its latency is that of a modelled accelerator whose cycles depend on bits. The joint
search is `nsga2` over all genes; `sequential` is the same NSGA-II over the genes of each phase in turn, with the
same operators, which go on learning what pays, and with seeds and draws of the same kinds in the first generation
of each phase, where there may be more seeds: each goes with each network that the phase begins with.
Hypervolume is that of the measured validation front, against one reference point for both. What the two fronts
offer below each of a few latencies, best by validation accuracy, is then measured on the test split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.best_below import common_limits, meeting
from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.study import Study
from bitfront.experiments.benchmarks.true_evaluations import true_evaluations
from bitfront.experiments.reporter import Reporter
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.loop import search

_EVALUATIONS, _QUICK_EVALUATIONS = 600, 60
_POPULATION, _QUICK_POPULATION = 20, 10
_POINTS = 5
_DRAWN = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """The fronts of both searches of one seed."""

    joint: Front
    sequential: Front


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches; the supernet is the same for all."""
    evaluations, population = (_QUICK_EVALUATIONS, _QUICK_POPULATION) if quick else (_EVALUATIONS, _POPULATION)
    with true_evaluations(reporter, quick) as evaluated:
        progress = reporter.progress("searching")
        pairs = []
        for seed in range(seeds):
            pairs.append(searched(evaluated, evaluations, population, seed))
            progress(seed + 1, seeds)
        reference = worst(evaluated)
        figures = volumes(pairs, reference) | accuracies(evaluated, pairs)
    figures |= {"evaluations": float(evaluations)}
    goals = [f"seeds_with_larger_joint_hypervolume >= {seeds}", "points_with_better_joint_accuracy >= 3"]
    return BenchResult.of("joint-vs-sequential", seeds, figures, goals)


def searched(evaluated: Study, evaluations: int, population: int, seed: int) -> Pair:
    """Both searches at equal true evaluations."""
    fronts = {
        strategy: search(
            evaluated.measuring(),
            strategy,
            rng=np.random.default_rng(seed),
            evaluations=evaluations,
            options={"population": population},
        )
        for strategy in ("nsga2", "sequential")
    }
    return Pair(fronts["nsga2"], fronts["sequential"])


def worst(evaluated: Study) -> Floats:
    """A reference point (2,) that no search had a hand in: all errors, and 10 % beyond the latencies drawn."""
    drawn = evaluated.space.sample(_DRAWN, np.random.default_rng(0))
    latency = np.asarray(evaluated.costs.cost(drawn)["latency_ms"], dtype=np.float64)
    return reference_point(np.stack([np.ones(len(latency)), latency], axis=1))


def volumes(pairs: list[Pair], reference: Floats) -> dict[str, float]:
    """Hypervolumes of both, and in how many seeds the joint one is larger."""
    joint = np.array([hypervolume(pair.joint.F, reference) for pair in pairs])
    sequential = np.array([hypervolume(pair.sequential.F, reference) for pair in pairs])
    return {
        **summarised("joint_hypervolume", joint),
        **summarised("sequential_hypervolume", sequential),
        "seeds_with_larger_joint_hypervolume": float((joint > sequential).sum()),
        "least_hypervolume_ratio": float((joint / sequential).min()),
    }


def accuracies(evaluated: Study, pairs: list[Pair]) -> dict[str, float]:
    """Test accuracy below each latency, as means over seeds, and at how many points the joint one is better."""
    points = latency_points(pairs)
    figures: dict[str, float] = {}
    better = 0
    for number, point in enumerate(points, start=1):
        joint, sequential = (
            np.array([_test_top1(evaluated, front, point) for front in fronts])
            for fronts in ([pair.joint for pair in pairs], [pair.sequential for pair in pairs])
        )
        better += joint.mean() > sequential.mean()
        figures[f"latency_ms_{number}"] = float(point)
        figures |= summarised(f"joint_test_top1_{number}", joint)
        figures |= summarised(f"sequential_test_top1_{number}", sequential)
    return figures | {"points_with_better_joint_accuracy": float(better)}


def latency_points(pairs: list[Pair]) -> Floats:
    """Latencies (5,) in equal ratios, from the least at which all fronts have something to the largest of all."""
    return common_limits(
        [front for pair in pairs for front in (pair.joint, pair.sequential)], "latency_ms", _POINTS
    )


def _test_top1(evaluated: Study, front: Front, latency_ms: float) -> float:
    """Of the member with the best validation accuracy that is no slower."""
    met = meeting(front.predicted["latency_ms"], latency_ms)
    best = met[np.argmax(front.predicted["top1"][met])]
    return float(evaluated.top1(front.genomes[[best]], "test")[0])
