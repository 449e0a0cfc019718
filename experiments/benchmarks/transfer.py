"""Does transfer from fp32 pairs save quantized ones? The transferred MLP against the same MLP from scratch.

The pairs are real: candidates of the digits supernet, measured on its validation split. Per seed, both predictors
get the same quantized pairs; the transferred one has also seen fp32 pairs. Both are judged on the same held-out
quantized pairs, which no fit has seen.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.samples import Samples, collected_samples
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.statuses import Status
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import metrics
from bitfront.predictors.mlp import MLPPredictor
from bitfront.search.executors.local import one_thread
from bitfront.supernet.space import SearchSpace

_SIZES = (50, 100, 200)
_GOAL_SIZE = 100
_SPEC = """
name: bench-transfer
space: digits
data: digits
device: bitfusion
samples: {{fp32: {fp32}, quantized: {quantized}, held_out: {held_out}}}
supernet: {supernet}
"""
_FULL = {"fp32": 400, "quantized": 300, "held_out": 200, "supernet": "{}"}
_QUICK = {
    "fp32": 100,
    "quantized": 200,
    "held_out": 50,
    "supernet": "{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Held-out Kendall tau and pairwise accuracy of both predictors for one seed and number of pairs."""

    transferred: dict[str, float]
    scratch: dict[str, float]


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Measure the pairs once (or find them), then fit both predictors per seed and size."""
    with one_thread():
        space, samples = _measured(quick, reporter)
        progress = reporter.progress("fitting predictors")
        scores: dict[int, list[Scores]] = {size: [] for size in _SIZES}
        for seed in range(seeds):
            for place, size in enumerate(_SIZES):
                scores[size].append(_scores(space, samples, size, seed))
                progress(seed * len(_SIZES) + place + 1, seeds * len(_SIZES))
    figures: dict[str, float] = {}
    for size in _SIZES:
        figures |= _figures(size, scores[size])
    return BenchResult.of("transfer", seeds, figures, [f"kendall_tau_gain_{_GOAL_SIZE} > 0"])


def _measured(quick: bool, reporter: Reporter) -> tuple[SearchSpace, Samples]:
    """Measured pairs, kept in the home like an experiment's, so that a second call finds them."""
    spec = parse_spec(_SPEC.format(**(_QUICK if quick else _FULL)))
    folder = home() / "bench"  # apart from people's experiments
    with open_store(folder) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(experiment.id)
        work = Run(store, folder, experiment.id, spec, reporter)
        try:
            with closing(work):
                work.stage("measuring pairs")
                supernet_id, supernet = trained_supernet(work, work.space(), work.dataset())
                samples = collected_samples(work, supernet_id, supernet)
        except BaseException as error:
            store.set_status(experiment.id, Status.FAILED, f"{type(error).__name__}: {error}")
            raise
        store.set_status(experiment.id, Status.COMPLETED)
    return supernet.space, samples


def _scores(space: SearchSpace, samples: Samples, size: int, seed: int) -> Scores:
    """Both fitted on the same ``size`` quantized pairs, which the seed draws; the seed also starts the weights."""
    rng = np.random.default_rng([seed, size])
    chosen = samples.quantized.take(rng.permutation(len(samples.quantized))[:size])
    transferred = MLPPredictor.fit(space, samples.fp32, rng).transfer(chosen, rng)
    scratch = MLPPredictor.from_scratch(space, chosen, rng)
    held_out = samples.quantized_held_out
    return Scores(_judged(transferred, held_out), _judged(scratch, held_out))


def _judged(predictor: MLPPredictor, held_out: Pairs) -> dict[str, float]:
    return metrics(predictor.predict(held_out.genomes).mean, held_out.accuracy)


def _figures(size: int, scores: list[Scores]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for metric in ("kendall_tau", "pairwise_accuracy"):
        transferred = np.array([score.transferred[metric] for score in scores])
        scratch = np.array([score.scratch[metric] for score in scores])
        figures[f"{metric}_transferred_{size}"] = float(transferred.mean())
        figures[f"{metric}_scratch_{size}"] = float(scratch.mean())
        figures[f"{metric}_gain_{size}"] = float((transferred - scratch).mean())
        figures[f"{metric}_gain_{size}_half_interval"] = _half_interval(transferred - scratch)
    return figures


def _half_interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Half of Student's 95 % interval of the mean; 0 for a single value, which has none."""
    n = len(values)
    return float(student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
