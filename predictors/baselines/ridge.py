"""Ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from bitfront.predictors.baselines.base import Baseline, BaselineOptions, suggest_shared
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import Suggests


@dataclass(frozen=True)
class RidgeOptions(BaselineOptions):
    """``alpha``: weight of the squared coefficients beside the squared errors.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        BaselineOptions.__post_init__(self)
        require(1e-6 <= self.alpha <= 1e6, "alpha", self.alpha, "from 1e-6 to 1e6")


@final
class RidgePredictor(Baseline):
    """Linear least squares with a penalty on the squared coefficients (Hoerl and Kennard 1970)."""

    kind: ClassVar[str] = "ridge"
    Options: ClassVar[type[Any]] = RidgeOptions

    @classmethod
    def regressor(cls, options: RidgeOptions, seed: int) -> Any:
        """See `Baseline.regressor`."""
        from sklearn.linear_model import Ridge

        return Ridge(alpha=options.alpha, solver="cholesky")

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {**suggest_shared(trial), "alpha": trial.suggest_float("alpha", 0.01, 10.0, log=True)}
