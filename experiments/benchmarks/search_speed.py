"""How fast is the search beside the predictor that it asks? Against stock pymoo NSGA-II, which asks the same one.

The space is ``proxyless``, costs come from BitFusion's table, and there are three objectives and a population of
1,000. Two predictors are asked, both transferred from as many pairs as an experiment collects unless it is told
otherwise: one MLP (as in APQ), so that each candidate passes two networks, and the default ensemble with its
processes. Times are processor time of the process; both searches take turns at being the first, and ratios are
those of one turn. A slow predictor hides a slow search: ``bound_times_pymoo`` is the ratio that a search which
costs nothing would reach. Accuracies that predictors learn are made up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.stock_pymoo import stock_nsga2
from bitfront.experiments.benchmarks.synthetic_accuracy import SyntheticAccuracy
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.mlp import MLPPredictor
from bitfront.predictors.options import OptionValue
from bitfront.search import search
from bitfront.search.executors.local import one_thread
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_OBJECTIVES = ("top1", "latency_ms", "energy_mj")
_POPULATION, _GENERATIONS, _QUICK_GENERATIONS = 1000, 30, 3
_SPACE, _QUICK_SPACE = "proxyless", "digits"
_PAIRS = (400, 100)
_PREDICTORS: Mapping[str, Mapping[str, OptionValue]] = {
    "single": {"members": 1, "process": False},
    "ensemble": {},
}
_SHORT: Mapping[str, OptionValue] = {"epochs": 10, "steps": 60}  # what was learned changes no speed
_GOALS = (
    "single_times_pymoo >= 4",
    "single_total_over_forward <= 2",
    "ensemble_times_pymoo >= 4",
    "ensemble_total_over_forward <= 2",
)

Floats = NDArray[np.float64]
Costs = Callable[[Genomes], Mapping[str, Floats]]
T = TypeVar("T")


@dataclass
class Clock:
    """Processor seconds of a search, and those of them spent in the predictor and in the costs."""

    total: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: {"forward": 0.0, "costs": 0.0})
    candidates: int = 0

    def problem(self, space: SearchSpace, predictor: MLPPredictor, cost: Costs) -> Problem:
        """What is searched for, with both parts clocked."""

        def predict(genomes: Genomes) -> Floats:
            self.candidates += len(genomes)
            return self._clocked("forward", lambda: np.clip(predictor.predict(genomes).mean, 0.0, 1.0))

        return Problem(space, _OBJECTIVES, predict, lambda genomes: self._clocked("costs", lambda: cost(genomes)))

    def _clocked(self, part: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        self.parts[part] += time.process_time() - start
        return result

    def run(self, work: Callable[[], object]) -> None:
        """Clock the whole."""
        start = time.process_time()
        work()
        self.total += time.process_time() - start


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed fits other predictors and searches with other draws."""
    name, generations = (_QUICK_SPACE, _QUICK_GENERATIONS) if quick else (_SPACE, _GENERATIONS)
    device = bitfusion()
    space = device.restrict(SPACES.get(name)())
    reporter.say(f"compiling the costs of {space.name}")
    cost = device.compile(space).cost
    progress = reporter.progress("searching")
    turns: dict[str, list[tuple[Clock, Clock]]] = {which: [] for which in _PREDICTORS}
    with one_thread():
        for seed in range(seeds):
            for place, (which, options) in enumerate(_PREDICTORS.items()):
                predictor = fitted(space, seed, {**options, **_SHORT})
                turns[which].append(turn(space, predictor, cost, generations, seed, seed % 2 == 0))
                progress(seed * len(_PREDICTORS) + place + 1, seeds * len(_PREDICTORS))
    figures = {"genes": float(space.n_genes)}
    for which, taken in turns.items():
        figures |= {f"{which}_{figure}": value for figure, value in summary(taken).items()}
    return BenchResult.of("search-speed", seeds, figures, _GOALS)


def fitted(space: SearchSpace, seed: int, options: Mapping[str, OptionValue]) -> MLPPredictor:
    """A predictor of a made-up accuracy, transferred."""
    rng, truth = np.random.default_rng(seed), SyntheticAccuracy(space, seed)
    first, second = (space.sample(n, rng) for n in _PAIRS)
    predictor = MLPPredictor.fit(space, Pairs(first, truth(first)), rng, options)
    return predictor.transfer(Pairs(second, truth(second)), rng)


def turn(
    space: SearchSpace, predictor: MLPPredictor, cost: Costs, generations: int, seed: int, ours_first: bool
) -> tuple[Clock, Clock]:
    """Our search and pymoo's, clocked, with as many candidates; whoever comes second finds caches warm."""
    evaluations, ours, theirs = generations * _POPULATION, Clock(), Clock()
    predictor.predict(space.sample(1, np.random.default_rng(seed)))  # the first call builds tables
    problem, same = ours.problem(space, predictor, cost), theirs.problem(space, predictor, cost)
    rng = np.random.default_rng(seed)
    options = {"population": _POPULATION}

    def we() -> None:
        ours.run(lambda: search(problem, "nsga2", rng=rng, evaluations=evaluations, options=options))

    def they() -> None:
        m = len(_OBJECTIVES)
        theirs.run(lambda: stock_nsga2(space, lambda x: same.evaluate(x).F, m, _POPULATION, evaluations, seed))

    for one in (we, they) if ours_first else (they, we):
        one()
    return ours, theirs


def summary(turns: list[tuple[Clock, Clock]]) -> dict[str, float]:
    """Medians over turns."""
    each = [
        {
            "candidates_per_second": ours.candidates / ours.total,
            "pymoo_candidates_per_second": theirs.candidates / theirs.total,
            "times_pymoo": (ours.candidates / ours.total) / (theirs.candidates / theirs.total),
            "bound_times_pymoo": theirs.total / theirs.candidates * ours.candidates / ours.parts["forward"],
            "total_over_forward": ours.total / ours.parts["forward"],
            "forward_us": 1e6 * ours.parts["forward"] / ours.candidates,
            "costs_us": 1e6 * ours.parts["costs"] / ours.candidates,
            "rest_us": 1e6 * (ours.total - sum(ours.parts.values())) / ours.candidates,
            "pymoo_rest_us": 1e6 * (theirs.total - sum(theirs.parts.values())) / theirs.candidates,
        }
        for ours, theirs in turns
    ]
    return {name: float(np.median([one[name] for one in each])) for name in each[0]}
