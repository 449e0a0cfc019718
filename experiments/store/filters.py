"""Which candidates of an experiment are asked for: comparisons of their predicted metrics with numbers."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

from bitfront.search.constraints import QUALIFIED_NAME, check_metric
from bitfront.supernet.errors import BitfrontError

Op = Literal["<=", ">=", "<", ">", "=="]
COMPARE: Mapping[Op, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
_FORM = re.compile(rf"\s*({QUALIFIED_NAME}|\w+)\s*(<=|>=|==|<|>)\s*(\S+)\s*")


class InvalidFilterError(BitfrontError):
    """A filter can not be read, or compares with what is no number."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Candidates whose predicted ``metric`` compares with ``value`` as ``op`` says; none without the metric.

    ``metric`` is one of `METRICS` or METRIC@DEVICE; ``value`` is in its unit (top1 is a fraction from 0 to 1).

    Raises:
        UnknownNameError: the metric is unknown.
        InvalidConstraintError: what stands behind an @ can not be a device's name.
        InvalidFilterError: the operator is unknown, or the value is not finite.
    """

    metric: str
    op: Op
    value: float

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.op not in COMPARE:
            raise InvalidFilterError(
                f"filter on {self.metric}: {self.op!r} is none of {', '.join(get_args(Op))}: use one of those"
            )
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not _finite(self.value):
            raise InvalidFilterError(f"filter '{self}': the value must be a finite number")

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.value!r}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"METRIC OP NUMBER"``, for example ``"latency_ms@pixel <= 2"``.

        Raises:
            UnknownNameError, InvalidConstraintError, InvalidFilterError: as the class.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise InvalidFilterError(
                f"can not read the filter {text!r}: write METRIC OP NUMBER with OP one of "
                f"{', '.join(get_args(Op))}, for example 'latency_ms <= 2'"
            )
        metric, op, number = form.groups()
        check_metric(metric)
        try:
            value = float(number)
        except ValueError:
            raise InvalidFilterError(f"filter {text!r}: {number!r} is not a number") from None
        return cls(metric, cast(Op, op), value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False
