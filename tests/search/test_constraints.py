from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search.constraints import METRICS, Constraint, InvalidConstraintError, parse_constraint
from bitfront.supernet.errors import UnknownNameError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms <= 2", Constraint("latency_ms", "<=", 2.0)),
        ("  size_bytes<=1.5e4 ", Constraint("size_bytes", "<=", 15000.0)),
        ("top1 >= 0.95", Constraint("top1", ">=", 0.95)),
        ("macs >= 0", Constraint("macs", ">=", 0.0)),
    ],
)
def test_reads(text: str, expected: Constraint) -> None:
    assert parse_constraint(text) == expected


@given(
    metric=st.sampled_from(sorted(set(METRICS) - {"top1"})),
    sense=st.sampled_from(["<=", ">="]),
    bound=st.floats(0, 1e12).map(lambda x: float(f"{x:.12g}")),
)
def test_reads_back_what_it_writes(metric: str, sense: str, bound: float) -> None:
    constraint = parse_constraint(f"{metric} {sense} {bound!r}")
    assert parse_constraint(str(constraint)) == constraint
    assert constraint.bound == bound


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_ms < 2", r"can not read the constraint 'latency_ms < 2'"),
        ("latency_ms = 2", "for example 'latency_ms <= 2'"),
        ("2 >= latency_ms", "unknown metric '2'"),
        ("", "can not read the constraint ''"),
        ("latency_ms <= two", "'two' is not a number"),
        ("latency_ms <= nan", "must be a finite number"),
        ("latency_ms <= inf", "must be a finite number"),
        ("latency_ms <= -1", "never negative"),
        ("top1 >= 95", "for percent write 0.95"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises((InvalidConstraintError, UnknownNameError), match=message):
        parse_constraint(text)


def test_names_the_nearest_metric() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        parse_constraint("latency <= 2")


@given(
    values=st.lists(st.floats(0, 1e9), min_size=1), bound=st.floats(0, 1e9), sense=st.sampled_from(["<=", ">="])
)
def test_excess_is_positive_exactly_where_the_bound_is_missed(
    values: list[float], bound: float, sense: str
) -> None:
    constraint = Constraint("macs", "<=" if sense == "<=" else ">=", bound)
    met = [value <= bound if sense == "<=" else value >= bound for value in values]
    assert ((constraint.excess(np.array(values)) <= 0) == met).all()


def test_excess_is_relative_to_the_bound() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert Constraint("latency_ms", "<=", 2.0).excess(values).tolist() == [-0.5, 0.0, 0.5]
    assert Constraint("latency_ms", ">=", 2.0).excess(values).tolist() == [0.5, 0.0, -0.5]
    assert Constraint("latency_ms", "<=", 2.0).closest(values) == 0
    assert math.isfinite(Constraint("latency_ms", ">=", 0.0).excess(values).max())
