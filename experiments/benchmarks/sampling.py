"""Fewer samples: what stopping by the learning curve saves and costs, and whether chosen ones beat random ones.

Pairs are real, and recorded: candidates of a supernet, measured on its validation split. Per seed they come in
another order, and are collected as an experiment collects its samples. What is collected is judged by the
experiment's predictor: fitted to the fp32 pairs, transferred to the quantized ones, and asked for held-out pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.pools import Pool, pool
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.sampling_plot import Panel, sampling_figure
from bitfront.experiments.reporter import Reporter
from bitfront.predictors.acquisition import ACQUISITIONS, below_front, costs
from bitfront.predictors.collection import RANDOM, Collected, Measure, Plan, collected
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import pairwise_accuracy, top_k_regret
from bitfront.predictors.mlp import MLPPredictor
from bitfront.search.executors.local import one_thread
from bitfront.supernet.genes import Genomes

_POOLS, _QUICK_POOLS = ("digits", "fashion"), ("digits",)
_TOLERANCE = 0.006
_CHOSEN, _QUICK_CHOSEN = 1 / 5, 3 / 4
"""The share of a pool's candidates that is measured, where samples are chosen; experiments choose one of five.
Of a small pool it must be more, for it takes more than one round to choose."""
_NEAR = 0.3
"""The share of held-out pairs that is nearest to the measured front."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one way to collect.

    Attributes:
        fp32: as collected. quantized: likewise.
        accuracy: held-out pairwise accuracy of the transferred predictor, 0..1.
        near_front: the same among held-out pairs near the measured front.
        regret: top-k regret, in accuracy.
    """

    fp32: Collected
    quantized: Collected
    accuracy: float
    near_front: float
    regret: float

    @property
    def measured(self) -> int:
        """How many pairs were measured."""
        return len(self.fp32.pairs) + len(self.quantized.pairs)


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed draws the order of the pairs, first weights and folds."""
    figures: dict[str, float] = {}
    goals: list[str] = []
    panels = []
    with one_thread():
        for name in _QUICK_POOLS if quick else _POOLS:
            pairs, progress = pool(name, reporter, quick), reporter.progress(f"collecting samples of {name}")
            outcomes = []
            for seed in range(seeds):
                outcomes.append(dict(_outcomes(pairs, seed, _QUICK_CHOSEN if quick else _CHOSEN)))
                progress(seed + 1, seeds)
            found, asked = _figures(name, outcomes)
            figures, goals = figures | found, goals + asked
            panels.append(_panel(name, outcomes))
    return BenchResult.of("sampling", seeds, figures, goals, {"samples": sampling_figure(panels)})


def _outcomes(pairs: Pool, seed: int, chosen: float) -> Iterator[tuple[str, Outcome]]:
    yield "all", _outcome(pairs, seed, 1.0, None, RANDOM)
    yield "stopped", _outcome(pairs, seed, 1.0, _TOLERANCE, RANDOM)
    for choose in (RANDOM, *ACQUISITIONS):
        yield choose, _outcome(pairs, seed, chosen, None, choose)


def _outcome(pairs: Pool, seed: int, share: float, tolerance: float | None, choose: str) -> Outcome:
    """Of collecting a share of the pool at most; quantized pairs are chosen, fp32 ones never."""
    parts: list[Collected] = []
    for place, (part, way) in enumerate(((pairs.fp32, RANDOM), (pairs.quantized, choose))):
        plan = Plan(round(share * len(part)), tolerance, way)
        order = np.random.default_rng([seed, place]).permutation(len(part))
        rng = np.random.default_rng([seed, 2 + place])
        before = parts[0].pairs if parts else None
        parts.append(collected(pairs.space, part.genomes[order], _recorded(part), plan, rng, before))
    fp32, quantized = parts
    predictor = MLPPredictor.fit(pairs.space, fp32.pairs, np.random.default_rng(seed))
    held_out = pairs.quantized_held_out
    said = predictor.transfer(quantized.pairs, np.random.default_rng(seed)).mean(held_out.genomes)
    near = near_front(pairs)
    return Outcome(
        fp32,
        quantized,
        pairwise_accuracy(said, held_out.accuracy),
        pairwise_accuracy(said[near], held_out.accuracy[near]),
        top_k_regret(said, held_out.accuracy),
    )


def _recorded(pairs: Pairs) -> Measure:
    known = {genome.tobytes(): accuracy for genome, accuracy in zip(pairs.genomes, pairs.accuracy, strict=True)}

    def measure(genomes: Genomes) -> NDArray[np.float64]:
        return np.array([known[genome.tobytes()] for genome in genomes])

    return measure


def near_front(pairs: Pool) -> NDArray[np.intp]:
    """Rows of the held-out quantized pairs that are nearest to the front of measured accuracy over costs."""
    held_out = pairs.quantized_held_out
    below = [below_front(held_out.accuracy, cost) for cost in costs(pairs.space, held_out.genomes)]
    return np.argsort(np.min(below, axis=0), kind="stable")[: round(_NEAR * len(held_out))]


def _figures(name: str, outcomes: list[dict[str, Outcome]]) -> tuple[dict[str, float], list[str]]:
    figures: dict[str, float] = {}

    def add(figure: str, values: list[float]) -> None:
        figures.update(summarised(f"{name}_{figure}", np.array(values)))

    add("saved", [1 - one["stopped"].measured / one["all"].measured for one in outcomes])
    add("lost", [one["all"].accuracy - one["stopped"].accuracy for one in outcomes])
    for way in ("all", "stopped", RANDOM, *ACQUISITIONS):
        add(f"{way}_accuracy", [one[way].accuracy for one in outcomes])
        add(f"{way}_near_front", [one[way].near_front for one in outcomes])
        add(f"{way}_regret", [one[way].regret for one in outcomes])
    for way in ACQUISITIONS:
        add(f"{way}_gain", [one[way].accuracy - one[RANDOM].accuracy for one in outcomes])
        add(f"{way}_gain_near_front", [one[way].near_front - one[RANDOM].near_front for one in outcomes])
    gains = [f"{name}_{way}_{gain}" for way in ACQUISITIONS for gain in ("gain", "gain_near_front")]
    for figure in (f"{name}_saved", f"{name}_lost", *gains):
        half = figures.get(f"{figure}_half_interval", 0.0)
        figures |= {f"{figure}_low": figures[figure] - half, f"{figure}_high": figures[figure] + half}
    # What is said to hold does so at the far end of its interval.
    goals = [f"{name}_saved_low >= 0.3", f"{name}_lost_high <= 0.01", *(f"{gain}_low > 0" for gain in gains)]
    return figures, goals


def _panel(name: str, outcomes: list[dict[str, Outcome]]) -> Panel:
    stopped = [one["stopped"] for one in outcomes]
    ways = {way: np.array([one[way].accuracy for one in outcomes]) for way in (RANDOM, *ACQUISITIONS)}
    return Panel(
        name,
        [one.fp32 for one in stopped],
        [one.quantized for one in stopped],
        (len(outcomes[0]["all"].fp32.pairs), len(outcomes[0]["all"].quantized.pairs)),
        ways,
    )
