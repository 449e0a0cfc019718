"""Stage 4a: accuracy predictors, their data and their metrics. A new predictor is one file and one line here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitfront.supernet.registry import Registry

if TYPE_CHECKING:  # names are listed without importing torch
    from bitfront.predictors.predictor import AccuracyPredictor
    from bitfront.supernet.space import SearchSpace

PREDICTORS: Registry[type[AccuracyPredictor]] = Registry(
    "predictor",
    {
        "gaussian_process": "bitfront.predictors.baselines.gaussian_process:GaussianProcessPredictor",
        "gradient_boosting": "bitfront.predictors.baselines.gradient_boosting:GradientBoostingPredictor",
        "mlp": "bitfront.predictors.mlp:MLPPredictor",
        "random_forest": "bitfront.predictors.baselines.random_forest:RandomForestPredictor",
        "ridge": "bitfront.predictors.baselines.ridge:RidgePredictor",
        "svr": "bitfront.predictors.baselines.svr:SVRPredictor",
    },
)


def load_predictor(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """The stored predictor, of whatever kind it is.

    Raises:
        MissingFileError, CorruptFileError, OtherSpaceError: as `AccuracyPredictor.load`.
        UnknownNameError: its kind is not known here.
    """
    from bitfront.predictors import stored

    return PREDICTORS.get(str(stored.read(path)[1]["kind"])).load(path, space)
