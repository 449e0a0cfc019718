"""Support vector regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from bitfront.predictors.baselines.base import Baseline, BaselineOptions, suggest_shared
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import Suggests


@dataclass(frozen=True)
class SVROptions(BaselineOptions):
    """How it is fitted.

    Attributes:
        length_scale: of the kernel exp(-d^2 / 2 length_scale^2), for rows at a mean squared distance of 1 from
            their centre.
        penalty: of errors, C.
        epsilon: error that costs nothing, in standard deviations of what is learned.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    length_scale: float = 1.0
    penalty: float = 10.0
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        BaselineOptions.__post_init__(self)
        require(1e-3 <= self.length_scale <= 1e3, "length_scale", self.length_scale, "from 0.001 to 1000")
        require(1e-3 <= self.penalty <= 1e4, "penalty", self.penalty, "from 0.001 to 10000")
        require(0 <= self.epsilon <= 10, "epsilon", self.epsilon, "from 0 to 10")


@final
class SVRPredictor(Baseline):
    """Epsilon-insensitive regression with a Gaussian kernel (Smola and Schölkopf 2004)."""

    kind: ClassVar[str] = "svr"
    Options: ClassVar[type[Any]] = SVROptions

    @classmethod
    def regressor(cls, options: SVROptions, seed: int) -> Any:
        """See `Baseline.regressor`."""
        from sklearn.svm import SVR

        return SVR(gamma=0.5 / options.length_scale**2, C=options.penalty, epsilon=options.epsilon)

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {
            **suggest_shared(trial),
            "length_scale": trial.suggest_float("length_scale", 0.5, 20.0, log=True),
            "penalty": trial.suggest_float("penalty", 0.1, 1000.0, log=True),
            "epsilon": trial.suggest_float("epsilon", 0.01, 0.5, log=True),
        }
