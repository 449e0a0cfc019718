"""The demo's promises, measured: one whole run on this machine's CPU per seed, with a supernet of its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.details import own_predictors
from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.rows import front_rows
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.exporting import export_candidate
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import home, open_store

_SPEC = """
name: bench-demo
space: digits
data: digits
device: host-onnxruntime
objectives: [top1, latency_ms, size_bytes]
seed: {seed}
"""
_QUICK = """
supernet: {warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}
samples: {fp32: 60, quantized: 30, held_out: 30}
search: {generations: 20}
"""
_GOALS = (
    "worst_measured_not_dominated >= 8",
    "worst_smallest_to_largest_size <= 0.5",
    "worst_best_top1_test >= 0.97",
    "worst_kendall_tau_fp32 >= 0.6",
    "worst_export_gap <= 0.005",
    "worst_seconds <= 300",
)
_SMALLER_IS_BETTER = frozenset({"smallest_to_largest_size", "export_gap", "seconds"})


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each figure as its mean and its worst over the seeds; the goals are for the worst.

    ``seconds`` is the wall time of the run, shorter where an earlier bench left its supernet.
    """
    found = [_one(seed, quick, reporter) for seed in range(seeds)]
    figures: dict[str, float] = {}
    for name in found[0]:
        values = np.array([one[name] for one in found])
        figures[f"mean_{name}"] = float(values.mean())
        figures[f"worst_{name}"] = float(values.max() if name in _SMALLER_IS_BETTER else values.min())
    return BenchResult.of("demo", seeds, figures, _GOALS)


def _one(seed: int, quick: bool, reporter: Reporter) -> dict[str, float]:
    spec = parse_spec(_SPEC.format(seed=seed) + (_QUICK if quick else ""))
    folder = home() / "bench"  # apart from people's experiments
    with open_store(folder) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        start = time.monotonic()
        run_experiment(store, folder, experiment.id, reporter)
        seconds = time.monotonic() - start
        best = max(_kept(store, experiment.id), key=lambda row: float(row["measured"]["top1"]))
        (exported,) = export_candidate(store, folder, experiment.id, best["candidate"])
        assert exported.top1_test is not None  # ONNX Runtime is always here
        return {
            "seconds": seconds,
            "export_gap": abs(exported.top1_test - exported.top1_fake_quant),
            **_front_figures(_kept(store, experiment.id)),
            **_predictor_figures(store, experiment.id),
        }


def _kept(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    return [row for row in front_rows(store, experiment_id) if not row["dominated"]]


def _front_figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    sizes = [row["predicted"]["size_bytes"] for row in rows]
    errors = [abs(row["predicted"]["latency_ms"] / row["measured"]["latency_ms"] - 1) for row in rows]
    return {
        "measured_not_dominated": float(len(rows)),
        "smallest_to_largest_size": min(sizes) / max(sizes),
        "best_top1_test": max(row["measured"]["top1_test"] for row in rows),
        "latency_agreement": 1 - float(np.mean(errors)),
    }


def _predictor_figures(store: Store, experiment_id: str) -> dict[str, float]:
    records = own_predictors(store, store.get(experiment_id))
    return {f"kendall_tau_{record.kind}": float(record.metrics["kendall_tau"]) for record in records}
