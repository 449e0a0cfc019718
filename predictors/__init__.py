"""Stage 4a: accuracy predictors, their data and their metrics. A new predictor is one file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfront.supernet.registry import Registry

if TYPE_CHECKING:  # names are listed without importing torch
    from bitfront.predictors.predictor import AccuracyPredictor

PREDICTORS: Registry[type[AccuracyPredictor]] = Registry(
    "predictor",
    {
        "mlp": "bitfront.predictors.mlp:MLPPredictor",
    },
)
