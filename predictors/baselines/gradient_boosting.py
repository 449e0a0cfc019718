"""Gradient boosting of small trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from bitfront.predictors.baselines.base import Baseline, BaselineOptions, suggest_shared
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import Suggests


@dataclass(frozen=True)
class GradientBoostingOptions(BaselineOptions):
    """How it is fitted.

    Attributes:
        trees: how many, one after the other.
        depth: of each tree.
        learning_rate: share of each tree that is added.
        subsample: share of the pairs that each tree sees.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    trees: int = 300
    depth: int = 3
    learning_rate: float = 0.1
    subsample: float = 0.5

    def __post_init__(self) -> None:
        BaselineOptions.__post_init__(self)
        require(1 <= self.trees <= 10_000, "trees", self.trees, "from 1 to 10000")
        require(1 <= self.depth <= 30, "depth", self.depth, "from 1 to 30")
        require(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "above 0, at most 1")
        require(0 < self.subsample <= 1, "subsample", self.subsample, "above 0, at most 1")


@final
class GradientBoostingPredictor(Baseline):
    """Stochastic gradient boosting (Friedman 2002); each split looks at a random part of the columns."""

    kind: ClassVar[str] = "gradient_boosting"
    Options: ClassVar[type[Any]] = GradientBoostingOptions

    @classmethod
    def regressor(cls, options: GradientBoostingOptions, seed: int) -> Any:
        """See `Baseline.regressor`."""
        from sklearn.ensemble import GradientBoostingRegressor

        return GradientBoostingRegressor(
            n_estimators=options.trees,
            max_depth=options.depth,
            learning_rate=options.learning_rate,
            subsample=options.subsample,
            max_features="sqrt",
            random_state=seed,
        )

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {
            **suggest_shared(trial),
            "trees": trial.suggest_int("trees", 50, 600, log=True),
            "depth": trial.suggest_int("depth", 1, 6),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
            "subsample": trial.suggest_float("subsample", 0.3, 1.0),
        }
