"""Does transfer from fp32 pairs save quantized ones? The MLP transferred, from scratch, and scikit-learn's best.

Pairs are real: candidates of a supernet, measured on its validation split. Per seed and size, all methods get the
same quantized pairs; all but the MLP from scratch have also seen the same fp32 pairs. The regressors of
scikit-learn are tuned for each size by cross-validation on the first seed's pairs, with their features and their
way to use fp32 pairs among what is tuned, and with the defaults as the first trial; the best kind is the one with
the best mean where it is judged, which favours them. Each seed draws anew which quantized pairs are held out, and
nobody has seen those; supernet and fp32 pairs are the same for all seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.pools import Pool, pool
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.samples_plot import Panel, samples_figure
from bitfront.experiments.reporter import Reporter
from bitfront.predictors import PREDICTORS
from bitfront.predictors.cross_validation import LearningPairs
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import judged
from bitfront.predictors.mlp import MLPPredictor
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.tuning import Tuning, tune
from bitfront.search.executors.local import one_thread
from bitfront.supernet.progress import Progress

Floats = NDArray[np.float64]

_POOLS, _QUICK_POOLS = ("digits", "fashion"), ("digits",)
_SIZES, _QUICK_SIZES = (25, 50, 100, 200, 400), (25, 50)
_KINDS = ("gaussian_process", "gradient_boosting", "random_forest", "ridge", "svr")
_TRIALS, _QUICK_TRIALS = 10, 1
_METRIC = "pairwise_accuracy"
_FEW = 50
"""Quantized pairs with which transfer sets what the MLP from scratch has to reach."""
_TIMES = 3


@dataclass(frozen=True)
class Scores:
    """Held-out pairwise accuracy of each method and coverage of the transferred intervals, (seeds, sizes)."""

    sizes: Sequence[int]
    accuracy: Mapping[str, Floats]
    coverage: Floats

    @property
    def best_kind(self) -> str:
        """Which kind of scikit-learn has the best mean over seeds and sizes."""
        return max(_KINDS, key=lambda kind: float(self.accuracy[kind].mean()))

    def best(self, place: int) -> Floats:
        """Scores (seeds,) of the kind of scikit-learn that is best at this size."""
        return max((self.accuracy[kind][:, place] for kind in _KINDS), key=lambda values: float(values.mean()))


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed draws the quantized pairs, first weights and folds."""
    figures: dict[str, float] = {}
    goals: list[str] = []
    panels = []
    with one_thread():
        for name in _QUICK_POOLS if quick else _POOLS:
            pairs = pool(name, reporter, quick)
            sizes, trials = (_QUICK_SIZES, _QUICK_TRIALS) if quick else (_SIZES, _TRIALS)
            scores = scored(pairs, sizes, trials, seeds, reporter.progress(f"fitting predictors of {name}"))
            found, asked = _figures(name, scores)
            figures, goals = figures | found, goals + asked
            panels.append(_panel(name, pairs, scores))
    heading, measured = "What fp32 samples are worth", "pairwise accuracy, held out"
    picture = samples_figure(panels, measured, heading, "quantized samples")
    return BenchResult.of("transfer", seeds, figures, goals, {"samples": picture})


def scored(pairs: Pool, sizes: Sequence[int], trials: int, seeds: int, progress: Progress) -> Scores:
    """Fit all methods to some of the quantized pairs, and ask them for those that are held out."""
    found: dict[str, Floats] = {}
    tuned: dict[int, dict[str, dict[str, OptionValue]]] = {}
    for seed in range(seeds):
        base = MLPPredictor.fit(pairs.space, pairs.fp32, np.random.default_rng(seed))
        for place, size in enumerate(sizes):
            chosen, held_out = drawn(pairs, size, seed)
            if size not in tuned:
                tuned[size] = dict(_tuned(pairs, chosen, trials))
            for name, value in _reached(Task(pairs, chosen, held_out, seed), base, tuned[size]):
                found.setdefault(name, np.zeros((seeds, len(sizes))))[seed, place] = value
            progress(seed * len(sizes) + place + 1, seeds * len(sizes))
    coverage = found.pop("coverage")
    return Scores(sizes, found, coverage)


def drawn(pairs: Pool, size: int, seed: int) -> tuple[Pairs, Pairs]:
    """(quantized pairs to learn, quantized pairs to judge by); what is held out is the same for all sizes."""
    known, held_out = pairs.quantized, pairs.quantized_held_out
    both = Pairs(
        np.concatenate([known.genomes, held_out.genomes]), np.concatenate([known.accuracy, held_out.accuracy])
    )
    order = np.random.default_rng(seed).permutation(len(both))
    judging, learning = np.split(order, [len(held_out)])
    return both.take(learning[:size]), both.take(judging)


@dataclass(frozen=True)
class Task:
    """What is learned, and what judges it."""

    pool: Pool
    chosen: Pairs
    held_out: Pairs
    seed: int

    def judge(self, predictor: AccuracyPredictor) -> dict[str, float]:
        """Metrics on what is held out."""
        return judged(predictor.predict(self.held_out.genomes), self.held_out.accuracy)

    def rng(self) -> np.random.Generator:
        """The same for every method."""
        return np.random.default_rng(self.seed)


def _tuned(pairs: Pool, chosen: Pairs, trials: int) -> Iterator[tuple[str, dict[str, OptionValue]]]:
    for name in _KINDS:
        learned, rng = LearningPairs(pairs.fp32, chosen), np.random.default_rng(0)
        yield name, tune(PREDICTORS.get(name), pairs.space, learned, Tuning(trials), rng).options


def _reached(
    task: Task, base: AccuracyPredictor, tuned: Mapping[str, Mapping[str, OptionValue]]
) -> Iterator[tuple[str, float]]:
    """What each method reaches with the same quantized pairs."""
    transferred = task.judge(base.transfer(task.chosen, task.rng()))
    yield "transferred", transferred[_METRIC]
    yield "coverage", transferred["interval_coverage"]
    space = task.pool.space
    yield "scratch", task.judge(MLPPredictor.from_scratch(space, task.chosen, task.rng()))[_METRIC]
    for name, options in tuned.items():
        first = PREDICTORS.get(name).fit(space, task.pool.fp32, task.rng(), options)
        yield name, task.judge(first.transfer(task.chosen, task.rng()))[_METRIC]


def _figures(name: str, scores: Scores) -> tuple[dict[str, float], list[str]]:
    figures: dict[str, float] = {}
    goals: list[str] = []
    for place, size in enumerate(scores.sizes):
        for method, values in scores.accuracy.items():
            figures |= summarised(f"{name}_{method}_{size}", values[:, place])
        transferred = scores.accuracy["transferred"][:, place]
        others = {"scratch": scores.accuracy["scratch"][:, place], "scikit_learn": scores.best(place)}
        for other, values in others.items():
            figures |= summarised(f"{name}_gain_over_{other}_{size}", transferred - values)
            goals.append(f"{name}_gain_over_{other}_{size} >= 0")
        figures |= summarised(f"{name}_coverage_{size}", scores.coverage[:, place])
        goals += [f"{name}_coverage_{size} >= 0.85", f"{name}_coverage_{size} <= 0.95"]
    if _FEW in scores.sizes:
        figures[f"{name}_samples_from_scratch_over_transferred"] = samples_needed(scores) / _FEW
        goals.append(f"{name}_samples_from_scratch_over_transferred >= {_TIMES}")
    return figures, goals


def samples_needed(scores: Scores) -> float:
    """Quantized pairs with which the MLP from scratch reaches, in the mean over seeds, what transfer reaches with
    `_FEW`: interpolated over log n, and the largest size where it never does.
    """
    target = scores.accuracy["transferred"][:, list(scores.sizes).index(_FEW)].mean()
    reached = np.maximum.accumulate(scores.accuracy["scratch"].mean(axis=0))
    if reached[-1] < target:
        return float(scores.sizes[-1])
    above = int(np.argmax(reached >= target))
    if above == 0:
        return float(scores.sizes[0])
    share = (target - reached[above - 1]) / (reached[above] - reached[above - 1])
    low, high = np.log(scores.sizes[above - 1]), np.log(scores.sizes[above])
    return float(np.exp(low + share * (high - low)))


def _panel(name: str, pairs: Pool, scores: Scores) -> Panel:
    best = scores.best_kind
    shown = {
        f"transferred from {len(pairs.fp32)} fp32 samples": scores.accuracy["transferred"],
        "from scratch": scores.accuracy["scratch"],
        f"scikit-learn's best, tuned ({best.replace('_', ' ')})": scores.accuracy[best],
    }
    return Panel(f"{name}: {len(pairs.quantized_held_out)} held out", scores.sizes, shown)
