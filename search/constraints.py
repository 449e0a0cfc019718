"""The metrics of a candidate, and hard limits on them such as ``latency_ms <= 2``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import BitfrontError, UnknownNameError

Floats = NDArray[np.float64]
Sense = Literal["<=", ">="]

METRICS: Mapping[str, Literal["max", "min"]] = {
    "top1": "max",
    "latency_ms": "min",
    "energy_mj": "min",
    "size_bytes": "min",
    "peak_memory_bytes": "min",
    "macs": "min",
    "bitops": "min",
}
"""Every metric of a candidate and whether more or less of it is better; all are at least 0."""

_SMALLEST_SCALE = 1e-9
_DEVICE = r"[A-Za-z0-9_](?:[\w.-]*\w)?"
_QUALIFIED = re.compile(rf"(\w+)@({_DEVICE})")
_FORM = re.compile(rf"\s*(\w+(?:@{_DEVICE})?)\s*(<=|>=)\s*(\S+)\s*")

QUALIFIED_NAME = rf"\w+@{_DEVICE}"
"""The form of METRIC@DEVICE as a regular expression; a device's name goes on over dots and hyphens."""


class InvalidConstraintError(BitfrontError):
    """A constraint can not be read, or no candidate could ever meet it or miss it."""


def check_metric(name: str) -> None:
    """Accept a known metric, or METRIC@DEVICE: that of one device where there are several.

    Raises:
        UnknownNameError: it, or what stands before the @, is not in `METRICS`.
        InvalidConstraintError: what stands behind the @ can not be a device's name.
    """
    base = base_metric(name)
    if base not in METRICS:
        raise UnknownNameError("metric", base, METRICS)
    if base != name and _QUALIFIED.fullmatch(name) is None:
        raise InvalidConstraintError(
            f"metric {name!r}: write METRIC@DEVICE with a device's name of letters, digits, '_', '.' and '-', "
            f"for example '{base}@pixel'"
        )


def base_metric(name: str) -> str:
    """What a metric measures, whichever device it is of: ``latency_ms`` of ``latency_ms@pixel``."""
    return name.partition("@")[0]


def is_of_device(name: str) -> bool:
    """Whether a name is METRIC@DEVICE with a known metric."""
    return base_metric(name) in METRICS and _QUALIFIED.fullmatch(name) is not None


def qualified(metric: str, device: str) -> str:
    """The metric of one device where there are several: ``latency_ms@pixel``.

    Raises:
        UnknownNameError, InvalidConstraintError: as `check_metric`.
    """
    name = f"{metric}@{device}"
    check_metric(name)
    return name


@dataclass(frozen=True, slots=True)
class Constraint:
    """A hard limit: ``metric`` stays on the given side of ``bound`` (in the metric's unit, top1 as 0..1).

    Raises:
        UnknownNameError: the metric is unknown.
        InvalidConstraintError: the sense is neither ``<=`` nor ``>=``, or the bound is not finite, is negative,
            or is a top1 above 1.
    """

    metric: str
    sense: Sense
    bound: float

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.sense not in ("<=", ">="):
            raise InvalidConstraintError(f"constraint on {self.metric}: {self.sense!r} is neither '<=' nor '>='")
        if not math.isfinite(self.bound):
            raise InvalidConstraintError(f"constraint '{self}': the bound must be a finite number")
        if self.bound < 0:
            raise InvalidConstraintError(
                f"constraint '{self}': {self.metric} is never negative, nor may its bound be"
            )
        if base_metric(self.metric) == "top1" and self.bound > 1:
            raise InvalidConstraintError(
                f"constraint '{self}': top1 is a fraction from 0 to 1; for percent write {self.bound / 100:g}"
            )

    def __str__(self) -> str:
        return f"{self.metric} {self.sense} {self.bound:.12g}"

    def excess(self, values: Floats) -> Floats:
        """How far values of the metric, shape (n,), lie beyond the bound, relative to it; <= 0 is feasible.

        A bound of (nearly) 0 has no relative excess; there it is absolute.
        """
        excess: Floats = (values - self.bound) * self.slope
        return excess

    @property
    def slope(self) -> float:
        """By how much `excess` grows with the metric."""
        scale = self.bound if self.bound > _SMALLEST_SCALE else 1.0
        return 1.0 / scale if self.sense == "<=" else -1.0 / scale

    def closest(self, values: Floats) -> int:
        """Position of the value that comes nearest to meeting the bound, or meets it most clearly."""
        return int(np.argmin(self.excess(values)))


def parse_constraint(text: str) -> Constraint:
    """Read ``"METRIC <= NUMBER"`` or ``"METRIC >= NUMBER"``; the metric may be METRIC@DEVICE.

    Raises:
        UnknownNameError: the metric is unknown; the message names the nearest known one.
        InvalidConstraintError: the text has another form, or the number makes no sense as a bound.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidConstraintError(
            f"can not read the constraint {text!r}: write METRIC <= NUMBER or METRIC >= NUMBER, "
            "for example 'latency_ms <= 2'"
        )
    metric, sense, number = form.groups()
    check_metric(metric)
    try:
        bound = float(number)
    except ValueError:
        raise InvalidConstraintError(f"constraint {text!r}: {number!r} is not a number") from None
    return Constraint(metric, "<=" if sense == "<=" else ">=", bound)
