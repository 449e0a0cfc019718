"""How good a predictor is on pairs that it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.dataset import InvalidPairsError

if TYPE_CHECKING:  # metrics are computed without importing torch
    from bitfront.predictors.predictor import Prediction

Floats = NDArray[np.float64]

_TOP_SHARE = 100


def kendall_tau(predicted: Floats, measured: Floats) -> float:
    """Kendall's tau-b, -1..1; 0 where either side is constant."""
    from scipy.stats import kendalltau  # takes half a second to load, and most who load this judge nothing

    return _defined(float(kendalltau(predicted, measured).statistic))


def spearman(predicted: Floats, measured: Floats) -> float:
    """Spearman's rank correlation, -1..1; 0 where either side is constant."""
    from scipy.stats import spearmanr  # see `kendall_tau`

    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return _defined(float(spearmanr(predicted, measured).statistic))


def pairwise_accuracy(predicted: Floats, measured: Floats) -> float:
    """Share of pairs of candidates that are put in the right order, 0..1.

    Pairs measured as equal do not count; a pair predicted as equal counts half. 0.5 where no pair counts.
    """
    # tau-b is (right - wrong) / sqrt(pairs that differ in one * pairs that differ in the other) (Kendall 1945),
    # which scipy counts in n log n steps.
    guessed, counting = _differing(predicted), _differing(measured)
    tau = kendall_tau(predicted, measured)
    return float(np.clip((1 + tau * np.sqrt(guessed / counting)) / 2, 0.0, 1.0)) if counting else 0.5


def rmse(predicted: Floats, measured: Floats) -> float:
    """Root of the mean squared error, in the unit of accuracy."""
    return float(np.sqrt(np.mean(np.square(predicted - measured))))


def top_k(n: int) -> int:
    """The k of `top_k_regret` where none is given: a hundredth of ``n`` candidates, at least 1."""
    return max(1, n // _TOP_SHARE)


def top_k_regret(predicted: Floats, measured: Floats, k: int | None = None) -> float:
    """Best measured accuracy minus the best measured one among the ``k`` that are predicted best; at least 0.

    It is what is lost by measuring ``k`` candidates instead of all. Of those predicted as equal the ones measured
    worst are taken first, so that a constant prediction gains nothing from the order of rows.

    Args:
        predicted: shape (n,).
        measured: shape (n,).
        k: how many are measured; default: `top_k` of n.
    """
    chosen = np.lexsort((measured, -predicted))[: top_k(len(measured)) if k is None else k]
    return float(measured.max() - measured[chosen].max())


def interval_coverage(prediction: Prediction, measured: Floats) -> float:
    """Share of measured accuracies (n,) within ``mean`` plus or minus ``half_width``, 0..1; see `COVERAGE`."""
    return float(np.mean(np.abs(prediction.mean - measured) <= prediction.half_width))


def metrics(predicted: Floats, measured: Floats) -> dict[str, float]:
    """``kendall_tau``, ``spearman``, ``pairwise_accuracy`` and ``rmse`` of n held-out candidates, each (n,).

    Raises:
        InvalidPairsError: shapes differ, or there are fewer than two candidates.
    """
    if predicted.shape != measured.shape or len(measured) < 2:
        raise InvalidPairsError(
            f"predicted {predicted.shape} and measured {measured.shape} can not be compared: "
            "give one value of each for at least two held-out candidates"
        )
    return {
        "kendall_tau": kendall_tau(predicted, measured),
        "spearman": spearman(predicted, measured),
        "pairwise_accuracy": pairwise_accuracy(predicted, measured),
        "rmse": rmse(predicted, measured),
    }


def judged(prediction: Prediction, measured: Floats) -> dict[str, float]:
    """All that is said of a predictor, from n candidates that it has not learned from.

    `metrics`, then ``top_k_regret`` with its ``top_k``, ``interval_coverage``, ``mean_half_width`` (in the unit of
    accuracy) and ``held_out``, which is n.

    Raises:
        InvalidPairsError: as `metrics`.
    """
    return {
        **metrics(prediction.mean, measured),
        "top_k_regret": top_k_regret(prediction.mean, measured),
        "top_k": float(top_k(len(measured))),
        "interval_coverage": interval_coverage(prediction, measured),
        "mean_half_width": float(np.mean(prediction.half_width)),
        "held_out": float(len(measured)),
    }


def _differing(values: Floats) -> int:
    """How many pairs of values differ."""
    _, counts = np.unique(values, return_counts=True)
    n = len(values)
    return (n * (n - 1) - int((counts * (counts - 1)).sum())) // 2


def _defined(value: float) -> float:
    return value if np.isfinite(value) else 0.0
