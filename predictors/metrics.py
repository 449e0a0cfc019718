"""How good a predictor is on pairs that it has not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from bitfront.predictors.dataset import InvalidPairsError

Floats = NDArray[np.float64]


def kendall_tau(predicted: Floats, measured: Floats) -> float:
    """Kendall's tau-b, -1..1; 0 where either side is constant."""
    return _defined(float(kendalltau(predicted, measured).statistic))


def spearman(predicted: Floats, measured: Floats) -> float:
    """Spearman's rank correlation, -1..1; 0 where either side is constant."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return _defined(float(spearmanr(predicted, measured).statistic))


def pairwise_accuracy(predicted: Floats, measured: Floats) -> float:
    """Share of pairs of candidates that are put in the right order, 0..1.

    Pairs measured as equal do not count; a pair predicted as equal counts half. 0.5 where no pair counts.
    """
    i, j = np.triu_indices(len(measured), k=1)
    truth = np.sign(measured[i] - measured[j])
    guess = np.sign(predicted[i] - predicted[j])[truth != 0]
    truth = truth[truth != 0]
    return float(np.mean((1 + truth * guess) / 2)) if len(truth) else 0.5


def rmse(predicted: Floats, measured: Floats) -> float:
    """Root of the mean squared error, in the unit of accuracy."""
    return float(np.sqrt(np.mean(np.square(predicted - measured))))


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


def _defined(value: float) -> float:
    return value if np.isfinite(value) else 0.0
