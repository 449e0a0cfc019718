"""How accuracy grows with the number of samples, and when more of them are no longer worth measuring."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bitfront.supernet.errors import BitfrontError

_RATES = np.geomspace(0.05, 4.0, 40)
_USUAL_RATE, _RATE_SPREAD = 0.5, 1.0
_NOISE = 0.1
Floats = NDArray[np.float64]


class InvalidCurveError(BitfrontError):
    """Points through which no learning curve goes."""


@dataclass(frozen=True, slots=True)
class Point:
    """The accuracy, a fraction, that was reached with ``n`` samples."""

    n: int
    accuracy: float


@dataclass(frozen=True)
class LearningCurve:
    """``accuracy(n) = c - a * n ** -b`` with a, b > 0 and c <= 1, through noisy points (Cortes et al. 1993).

    Least squares in c and a for every b; of the b's the likeliest where a point has a standard deviation of
    ``noise / sqrt(n)``, as a share of n samples has, and log b is spread by 1 around log 0.5, the rate at which
    means converge. So two points are enough, and few noisy ones do not make it leap.

    Args:
        points: at least two, of different n.
        noise: standard deviation of the accuracy of a point of one sample.

    Raises:
        InvalidCurveError: fewer than two different n, an n below 1, an accuracy that is no fraction, or no noise.
    """

    points: tuple[Point, ...]
    noise: float = _NOISE

    def __post_init__(self) -> None:
        for point in self.points:
            if point.n < 1 or not 0 <= point.accuracy <= 1:
                raise InvalidCurveError(
                    f"{point} is no point of a curve: n must be at least 1, accuracy a fraction"
                )
        if len({point.n for point in self.points}) < 2:
            raise InvalidCurveError("a curve needs points at two different n at least: measure more samples")
        if not self.noise > 0:
            raise InvalidCurveError(f"noise is {self.noise}: it must be above 0")

    @property
    def n(self) -> int:
        """The largest number of samples among the points."""
        return max(point.n for point in self.points)

    @cached_property
    def parameters(self) -> tuple[float, float, float]:
        """(c, a, b)."""
        losses = [self._loss(math.log(rate)) for rate in _RATES]
        near = int(np.argmin(losses))
        low, high = _RATES[max(near - 1, 0)], _RATES[min(near + 1, len(_RATES) - 1)]
        found = minimize_scalar(self._loss, bounds=(math.log(low), math.log(high)), method="bounded")
        rate = math.exp(float(found.x))
        return (*self._linear(rate), rate)

    def asymptote(self) -> float:
        """c: the accuracy that no number of samples passes."""
        return self.parameters[0]

    def expected(self, n: float) -> float:
        """The curve's accuracy at ``n`` samples; infinite ones give the asymptote."""
        c, a, b = self.parameters
        return float(c - a * float(n) ** -b)

    def _loss(self, log_rate: float) -> float:
        c, a = self._linear(math.exp(log_rate))
        errors = c - a * self._n ** -math.exp(log_rate) - self._accuracy
        prior = ((log_rate - math.log(_USUAL_RATE)) / _RATE_SPREAD) ** 2
        return float(self._n @ np.square(errors / self.noise)) + prior

    def _linear(self, rate: float) -> tuple[float, float]:
        """The best (c, a) with c <= 1 and a >= 0: free, or on one of the two borders."""
        falls, accuracy, share = self._n**-rate, self._accuracy, self._n / self._n.sum()
        mean, level = float(share @ falls), float(share @ accuracy)
        centred = share * (falls - mean)
        a = -float(centred @ accuracy) / max(float(centred @ falls), 1e-300)
        c = level + a * mean
        if a < 0:
            return level, 0.0
        return (c, a) if c <= 1 else (1.0, float(share * falls @ (1 - accuracy)) / float(share * falls @ falls))

    @cached_property
    def _n(self) -> Floats:
        return np.array([point.n for point in self.points], dtype=np.float64)

    @cached_property
    def _accuracy(self) -> Floats:
        return np.array([point.accuracy for point in self.points])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether samples are enough.

    Attributes:
        stop: they are.
        n: how many samples there are.
        accuracy: what the last curve says of them.
        goal: what it says of as many as there could be.
        before: what the curve before said of as many as there could be; None of the first curve.
    """

    stop: bool
    n: int
    accuracy: float
    goal: float
    before: float | None

    def __str__(self) -> str:
        """For people, in one line."""
        before = "" if self.before is None else f" (the round before: {self.before:.3f})"
        return f"pairwise accuracy {self.accuracy:.3f} with {self.n}, {self.goal:.3f} expected in the end{before}"


def enough(curves: Sequence[LearningCurve], tolerance: float, limit: float = math.inf) -> Verdict:
    """Enough, once the last curve and the one before agree in where they lead and little is left to gain.

    Where they lead is their asymptote, or their accuracy at ``limit`` where no more than that can be measured: an
    asymptote may be far above of what the last affordable sample reaches. Both the change from the curve before
    and the expected gain must be ``tolerance`` at most: curves of few noisy points are flat by chance at times,
    but seldom twice at the same height.

    Args:
        curves: one for every round so far, each with all samples that there were.
        tolerance: in pairwise accuracy, above 0.
        limit: the largest number of samples that can be had.

    Raises:
        InvalidCurveError: no curve, a tolerance that is not above 0, or n that does not grow.
    """
    if not tolerance > 0:
        raise InvalidCurveError(f"tolerance is {tolerance}: it must be above 0, such as 0.005")
    sizes = [curve.n for curve in curves]
    if not sizes or any(second <= first for first, second in itertools.pairwise(sizes)):
        raise InvalidCurveError(f"curves of {sizes} samples: there must be one, and each of more than the last")
    last = curves[-1]
    before = curves[-2].expected(limit) if len(curves) > 1 else None
    now, goal = last.expected(last.n), last.expected(limit)
    agree = before is not None and abs(goal - before) <= tolerance
    return Verdict(agree and goal - now <= tolerance, last.n, now, goal, before)
