"""How far a regressor can be relied on, from pairs that it has not learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bitfront.predictors.baselines.columns import Floats
from bitfront.predictors.baselines.model import Answer
from bitfront.predictors.conformal import Calibration
from bitfront.predictors.predictor import COVERAGE


@dataclass(frozen=True, slots=True)
class Reliance:
    """What residuals of pairs that were not learned from say.

    Attributes:
        calibration: how spreads become half widths.
        drop_mean: mean of what is added to a base's answer, if something is.
        drop_share: share of the rest of it that is added, 0 to 1: with few or noisy pairs, little.
    """

    calibration: Calibration
    drop_mean: float = 0.0
    drop_share: float = 1.0

    @classmethod
    def of(cls, answer: Answer, base: Answer | None, accuracy: Floats) -> Self:
        """From answers about pairs, each (n,), by regressors that had not seen them, and what was measured.

        Args:
            answer: about the accuracy, or about what it is more than the base's means.
            base: of regressors that never saw these pairs, if there is one.
            accuracy: measured.
        """
        if base is None:
            return cls(_calibration(answer, accuracy))
        missing = accuracy - base.mean
        mean = float(missing.mean())
        said = answer.mean - mean
        share = float(np.clip(said @ (missing - mean) / max(float(said @ said), 1e-30), 0.0, 1.0))
        joined = Answer(base.mean + mean + share * said, np.hypot(base.spread, answer.spread))
        return cls(_calibration(joined, accuracy), mean, share)

    def joined(self, base: Answer, drop: Answer) -> Answer:
        """The base's answer with as much of the drop as can be relied on, each (n,)."""
        added = self.drop_mean + self.drop_share * (drop.mean - self.drop_mean)
        return Answer(base.mean + added, np.hypot(base.spread, drop.spread))

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made, again; a `KeyError` or `TypeError` says that a part is missing."""
        calibration = Calibration(**{name: float(value) for name, value in values["calibration"].items()})
        return cls(calibration, float(values["drop_mean"]), float(values["drop_share"]))


def _calibration(answer: Answer, accuracy: Floats) -> Calibration:
    return Calibration.of(answer.mean - accuracy, answer.spread, COVERAGE)
