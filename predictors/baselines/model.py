"""A regressor of scikit-learn between the scales of what it learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from bitfront.predictors.baselines.columns import Floats, Scaling


class Answer(NamedTuple):
    """Means (n,) and how far the regressor thinks they may be off (n,), 0 where it does not say."""

    mean: Floats
    spread: Floats


Ask = Callable[[Any, Floats], Answer]


def plain(regressor: Any, x: Floats) -> Answer:
    """What a regressor without a spread of its own says to rows (n, d)."""
    mean = np.asarray(regressor.predict(x), dtype=np.float64)
    return Answer(mean, np.zeros_like(mean))


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted ``regressor``, which sees scaled rows and standardised targets."""

    regressor: Any
    ask: Ask
    scaling: Scaling
    mean: float
    std: float

    @classmethod
    def fitted(cls, regressor: Any, ask: Ask, x: Floats, y: Floats) -> Self:
        """``regressor`` fitted to rows (n, d) and targets (n,)."""
        scaling, mean, std = Scaling.of(x), float(y.mean()), float(y.std()) or 1.0
        regressor.fit(scaling(x), (y - mean) / std)
        return cls(regressor, ask, scaling, mean, std)

    def __call__(self, x: Floats) -> Answer:
        """Means and spreads of rows (n, d), in the unit of the targets."""
        if not len(x):  # scikit-learn answers no question of no rows
            return Answer(np.empty(0), np.empty(0))
        mean, spread = self.ask(self.regressor, self.scaling(x))
        return Answer(self.mean + self.std * mean, self.std * spread)
