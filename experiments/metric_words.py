"""How good a predictor is, in words. Records of older runs may lack some of the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def metric_lines(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) of all metrics that are there, for a list with one metric a line; see `metrics.judged`."""
    if "held_out" in metrics:
        yield "held-out pairs", f"{metrics['held_out']:.0f}"
    for name, title in _RANKS.items():
        if name in metrics:
            yield title, f"{metrics[name]:.3f}"
    if "rmse" in metrics:
        yield "RMSE", f"{metrics['rmse']:.4f}"
    if "top_k_regret" in metrics:
        yield f"top-{metrics['top_k']:.0f} regret", f"{metrics['top_k_regret']:.4f}"
    if "interval_coverage" in metrics:
        yield (
            _announced(),
            f"hold {metrics['interval_coverage']:.1%}, plus or minus {metrics['mean_half_width']:.4f}",
        )


def metric_line(metrics: Mapping[str, Any]) -> str:
    """The same in one line: ``Kendall tau 0.831, pairwise accuracy 0.912, ...``."""
    return ", ".join(f"{name} {value}" for name, value in metric_lines(metrics) if name != "held-out pairs")


_RANKS = {"kendall_tau": "Kendall tau", "spearman": "Spearman", "pairwise_accuracy": "pairwise accuracy"}


def _announced() -> str:
    from bitfront.predictors.predictor import COVERAGE  # only here, since it imports torch

    return f"{COVERAGE:.0%} intervals"
