"""The predictor on somebody else's measurements: ImageNet accuracies of subnets of Once-for-All's ResNet-50.

Each row is an architecture and a policy of fp32 or int8 per convolution, so that both are learned together from
few rows. Beside it are ridge regression and support vector regression as scikit-learn's users fit them: their
hyperparameters, and which of the two encodings of `Columns` they see, chosen by cross-validation on the same rows.
Of the file's 500 rows 438 are different; with few left to judge by, several draws of a seed are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.ofa_resnet50 import per_convolution_space, published_pairs
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.samples_plot import Panel, samples_figure
from bitfront.experiments.reporter import Reporter
from bitfront.predictors.baselines.columns import FEATURES, Columns, Scaling
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import interval_coverage, kendall_tau
from bitfront.predictors.mlp import MLPPredictor
from bitfront.search.executors.local import one_thread
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]

_SIZES, _QUICK_SIZES = (100, 200, 400), (100,)
_FOLDS = 5
_JUDGES = 200
"""Held-out rows of a seed, at least, over all its draws."""
_RIDGE = {"alpha": np.geomspace(1e-4, 1e1, 11).tolist()}
_SVR = {"C": [1.0, 10.0, 100.0, 1000.0], "gamma": [0.01, 0.03, 0.1, 0.3, 1.0], "epsilon": [0.01, 0.03, 0.1]}


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed draws the rows to learn and to judge by."""
    space = per_convolution_space()
    pairs = published_pairs(space).checked(space)
    sizes, progress = (_QUICK_SIZES if quick else _SIZES), reporter.progress("fitting predictors")
    found: dict[str, Floats] = {
        name: np.zeros((seeds, len(sizes))) for name in ("mlp", "ridge", "svr", "coverage")
    }
    with one_thread():
        for seed in range(seeds):
            for place, size in enumerate(sizes):
                for name, value in _averaged(space, pairs, size, seed).items():
                    found[name][seed, place] = value
                progress(seed * len(sizes) + place + 1, seeds * len(sizes))
    coverage = found.pop("coverage")
    figures, goals = _figures(found, coverage, sizes)
    figures |= {f"held_out_{size}": float(len(pairs) - size) for size in sizes}
    figures |= {f"draws_{size}": float(_draws(len(pairs) - size)) for size in sizes}
    panel = Panel(f"{len(pairs)} subnets of Once-for-All's ResNet-50, ImageNet", sizes, found)
    picture = samples_figure(
        [panel], "Kendall tau on held-out rows", "Published measurements, learned from few", "rows"
    )
    return BenchResult.of("predictor-real", seeds, figures, goals, {"samples": picture})


def _figures(
    found: Mapping[str, Floats], coverage: Floats, sizes: tuple[int, ...]
) -> tuple[dict[str, float], list[str]]:
    figures: dict[str, float] = {}
    goals: list[str] = []
    for place, size in enumerate(sizes):
        taus = {name: values[:, place] for name, values in found.items()}
        for name, values in taus.items():
            figures |= summarised(f"tau_{name}_{size}", values)
        best = max((taus["ridge"], taus["svr"]), key=lambda values: float(values.mean()))
        figures |= summarised(f"tau_gain_{size}", taus["mlp"] - best)
        goals.append(f"tau_gain_{size} > 0")
        figures |= summarised(f"coverage_{size}", coverage[:, place])
        goals += [f"coverage_{size} >= 0.85", f"coverage_{size} <= 0.95"]
    return figures, goals


def _draws(held_out: int) -> int:
    """How often a seed draws, so that enough rows judge."""
    return math.ceil(_JUDGES / held_out)


def _averaged(space: SearchSpace, pairs: Pairs, size: int, seed: int) -> dict[str, float]:
    """Means over a seed's draws."""
    draws = [
        _scores(space, pairs, size, np.random.default_rng([seed, size, draw]))
        for draw in range(_draws(len(pairs) - size))
    ]
    return {name: float(np.mean([one[name] for one in draws])) for name in draws[0]}


def _scores(space: SearchSpace, pairs: Pairs, size: int, rng: np.random.Generator) -> dict[str, float]:
    order = rng.permutation(len(pairs))
    known, held_out = pairs.take(order[:size]), pairs.take(order[size:])
    prediction = MLPPredictor.from_scratch(space, known, rng).predict(held_out.genomes)
    seed = int(rng.integers(2**31))
    others = {name: cross_validated(grid, space, known, seed) for name, grid in _grids().items()}
    return {
        "mlp": kendall_tau(prediction.mean, held_out.accuracy),
        "coverage": interval_coverage(prediction, held_out.accuracy),
        **{name: kendall_tau(ask(held_out), held_out.accuracy) for name, ask in others.items()},
    }


def _grids() -> dict[str, tuple[Any, Mapping[str, Any]]]:
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    return {"ridge": (Ridge(), _RIDGE), "svr": (SVR(), _SVR)}


def cross_validated(
    grid: tuple[Any, Mapping[str, Any]], space: SearchSpace, known: Pairs, seed: int
) -> Callable[[Pairs], Floats]:
    """A regressor of scikit-learn with the parameters and the encoding that do best on folds of ``known``.

    Args:
        grid: an unfitted regressor, and values to try for its parameters.
        space: of the pairs.
        known: what may be learned.
        seed: of the folds.
    """
    from sklearn.model_selection import GridSearchCV, KFold

    regressor, parameters = grid
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    mean, std = float(known.accuracy.mean()), float(known.accuracy.std()) or 1.0
    found = {}
    for features in FEATURES:
        columns = Columns(space, features)
        x = np.concatenate(columns(known.genomes), axis=1)
        scaling = Scaling.of(x)
        search = GridSearchCV(regressor, dict(parameters), scoring="neg_mean_squared_error", cv=folds)
        search.fit(scaling(x), (known.accuracy - mean) / std)
        found[features] = (search, columns, scaling)
    search, columns, scaling = max(found.values(), key=lambda one: float(one[0].best_score_))
    return lambda pairs: mean + std * search.predict(scaling(np.concatenate(columns(pairs.genomes), axis=1)))
