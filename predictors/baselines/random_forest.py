"""Random forests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from bitfront.predictors.baselines.base import Baseline, BaselineOptions, suggest_shared
from bitfront.predictors.baselines.columns import Floats
from bitfront.predictors.baselines.model import Answer, Ask
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import Suggests


@dataclass(frozen=True)
class RandomForestOptions(BaselineOptions):
    """How it is fitted.

    Attributes:
        trees: how many.
        least_leaf: pairs that a leaf holds at least.
        columns: share of the columns that each split looks at.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    trees: int = 100
    least_leaf: int = 1
    columns: float = 0.3

    def __post_init__(self) -> None:
        BaselineOptions.__post_init__(self)
        require(2 <= self.trees <= 10_000, "trees", self.trees, "from 2 to 10000")
        require(1 <= self.least_leaf <= 1000, "least_leaf", self.least_leaf, "from 1 to 1000")
        require(0 < self.columns <= 1, "columns", self.columns, "above 0, at most 1")


def _ask(forest: Any, x: Floats) -> Answer:
    answers = np.stack([tree.predict(x) for tree in forest.estimators_])
    return Answer(answers.mean(axis=0), answers.std(axis=0))


@final
class RandomForestPredictor(Baseline):
    """A random forest (Breiman 2001); half widths follow the standard deviation of its trees."""

    kind: ClassVar[str] = "random_forest"
    Options: ClassVar[type[Any]] = RandomForestOptions
    ask: ClassVar[Ask] = staticmethod(_ask)

    @classmethod
    def regressor(cls, options: RandomForestOptions, seed: int) -> Any:
        """See `Baseline.regressor`."""
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            n_estimators=options.trees,
            min_samples_leaf=options.least_leaf,
            max_features=options.columns,
            random_state=seed,
        )

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {
            **suggest_shared(trial),
            "trees": trial.suggest_int("trees", 50, 300, log=True),
            "least_leaf": trial.suggest_int("least_leaf", 1, 10, log=True),
            "columns": trial.suggest_float("columns", 0.05, 1.0, log=True),
        }
