"""How fast predictors answer: batches of 1,000 candidates on one core.

The single MLP has three hidden layers of 400 (APQ) and is transferred, so that it asks two networks for every
candidate; against it stand the products of matrices that it can not do without, on inputs that are there already.
The default ensemble, five networks of 256 and two Gaussian processes that have learned many pairs, is compared
with the single one, and so are twice five networks of 400. Ways take turns within a run, and ratios are taken
turn by turn. Accuracies are made up: what was learned changes no speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.predictor_speed_plot import speed_bars
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.folded import FoldedNetwork
from bitfront.predictors.mlp import MLPPredictor
from bitfront.predictors.options import OptionValue
from bitfront.predictors.process import MOST_PAIRS
from bitfront.search.executors.local import one_thread
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_BATCH = 1000
_PAIRS = (MOST_PAIRS, 400)
"""fp32 ones, and quantized ones: a process costs what it has learned."""
_TURNS, _QUICK_TURNS = 60, 20
_SPACES, _QUICK_SPACES = ("digits", "fashion", "mobilenet_v3_cifar"), ("digits",)
_UNTRAINED: dict[str, OptionValue] = {"epochs": 1, "steps": 1}
_NETWORKS: dict[str, OptionValue] = {"process": False, **_UNTRAINED}
_SINGLE: dict[str, OptionValue] = {"members": 1, "hidden": 400, **_NETWORKS}
_AS_WIDE: dict[str, OptionValue] = {"members": 5, "hidden": 400, **_NETWORKS}
_GOALS = ("{space}_single_over_products <= 1.2", "{space}_ensemble_over_single <= 3")

Floats = NDArray[np.float64]


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed draws other candidates and first weights."""
    names = _QUICK_SPACES if quick else _SPACES
    turns, progress = (_QUICK_TURNS if quick else _TURNS), reporter.progress("asking predictors")
    figures: dict[str, float] = {}
    bars: dict[str, Mapping[str, float]] = {}
    with one_thread():
        for place, name in enumerate(names):
            taken = []
            for seed in range(seeds):
                taken.append(_seconds(SPACES.get(name)(), seed, turns))
                progress(place * seeds + seed + 1, len(names) * seeds)
            ratios, bars[name] = _ratios(name, taken), _per_second(taken)
            figures |= ratios | {f"{name}_{way}_per_second": speed for way, speed in bars[name].items()}
    goals = [goal.format(space=name) for name in names for goal in _GOALS]
    return BenchResult.of("predictor-speed", seeds, figures, goals, {"speed": speed_bars(bars)})


def _ratios(name: str, taken: list[dict[str, Floats]]) -> dict[str, float]:
    """Over seeds: the median of each seed's turns."""
    single = np.array([np.median(one["single"] / one["products"]) for one in taken])
    ensemble = np.array([np.median(one["ensemble"] / one["single"]) for one in taken])
    as_wide = np.array([np.median(one["five_of_400"] / one["single"]) for one in taken])
    return {
        **summarised(f"{name}_single_over_products", single),
        **summarised(f"{name}_ensemble_over_single", ensemble),
        **summarised(f"{name}_five_of_400_over_single", as_wide),
    }


def _per_second(taken: list[dict[str, Floats]]) -> dict[str, float]:
    return {way: float(_BATCH / np.median([np.median(one[way]) for one in taken])) for way in taken[0]}


def _seconds(space: SearchSpace, seed: int, turns: int) -> dict[str, Floats]:
    """Of this thread's own time, per way and turn."""
    rng = np.random.default_rng(seed)
    genomes = space.sample(_BATCH, rng)
    single, ensemble, as_wide = (transferred(space, rng, o) for o in (_SINGLE, _UNTRAINED, _AS_WIDE))
    ways: dict[str, Callable[[], object]] = {
        "products": bare_products(single, genomes),
        "single": lambda: single.predict(genomes),
        "ensemble": lambda: ensemble.predict(genomes),
        "five_of_400": lambda: as_wide.predict(genomes),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns + 1):
        for way, ask in ways.items():
            start = time.thread_time()
            ask()
            if turn:  # the first one builds tables
                taken[way].append(time.thread_time() - start)
    return {way: np.array(seconds) for way, seconds in taken.items()}


def transferred(space: SearchSpace, rng: np.random.Generator, options: Mapping[str, OptionValue]) -> MLPPredictor:
    """A predictor that has seen made-up pairs."""
    first, second = (Pairs(space.sample(n, rng), rng.uniform(0.5, 0.9, n)) for n in _PAIRS)
    return MLPPredictor.fit(space, first, rng, options).transfer(second, rng)


def bare_products(predictor: MLPPredictor, genomes: Genomes) -> Callable[[], object]:
    """A call that multiplies inputs of the right shapes through all weights of a predictor, and no more."""
    networks = [network for network in (predictor._asked_first, predictor._asked_second) if network is not None]
    inputs = [torch.rand(len(genomes), network.members[0][0][0].shape[0]) for network in networks]

    def multiply() -> None:
        with torch.inference_mode():
            for network, x in zip(networks, inputs, strict=True):
                _multiplied(network, x)

    return multiply


def _multiplied(network: FoldedNetwork, x: torch.Tensor) -> None:
    for layers in network.members:
        y = x
        for weight, _ in layers:
            y = y @ weight
