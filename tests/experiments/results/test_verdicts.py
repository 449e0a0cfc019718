"""A goal's verdict says whether what is asked lies within the interval of what was found."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitfront.experiments.benchmarks.result import judged
from bitfront.experiments.results.claim import PERCENT, PLAIN, Claim
from bitfront.experiments.results.numbers import goal_texts, half_interval, is_within_interval
from bitfront.experiments.results.page import page
from bitfront.experiments.results.record import Record

RecordOf = Callable[..., Record]

SENSES = st.sampled_from([">=", "<=", ">", "<"])
VALUES = st.floats(-10, 10)
HALVES = st.floats(1e-3, 10)


def figures_of(value: float, half: float) -> dict[str, float]:
    return {"it": value, "it_half_interval": half}


@given(value=VALUES, half=HALVES, asked=VALUES, sense=SENSES)
def test_within_is_between_both_ends_whatever_is_compared(
    value: float, half: float, asked: float, sense: str
) -> None:
    distance = abs(Fraction(value) - Fraction(asked))
    assume(abs(distance - Fraction(half)) > Fraction(1, 10**12))
    figures = figures_of(value, half)
    assert is_within_interval(figures, judged(figures, f"it {sense} {asked!r}")) is (distance < half)


@given(value=VALUES, asked=VALUES, sense=SENSES)
def test_nothing_is_within_where_there_is_no_interval(value: float, asked: float, sense: str) -> None:
    for figures in ({"it": value}, figures_of(value, 0.0), figures_of(1.0 + value / 20, 1e-16)):
        for bound in (asked, figures["it"]):
            assert not is_within_interval(figures, judged(figures, f"it {sense} {bound!r}"))


@pytest.mark.parametrize("sense", [">=", "<="])
@pytest.mark.parametrize("asked", [0.75, 1.25])
def test_the_ends_are_within(sense: str, asked: float) -> None:
    figures = figures_of(1.0, 0.25)
    assert is_within_interval(figures, judged(figures, f"it {sense} {asked}"))


@given(value=VALUES, half=st.one_of(st.just(0.0), st.floats(1e-6, 1e3)), asked=VALUES, sense=SENSES)
def test_a_reader_sees_beside_an_interval_whether_a_goal_holds(
    value: float, half: float, asked: float, sense: str
) -> None:
    figures = figures_of(value, half)
    goal = judged(figures, f"it {sense} {asked!r}")
    for unit in (PLAIN, PERCENT):
        shown, sign, interval = goal_texts(goal, unit, half_interval(figures, "it"))[1].split()[:3]
        assert sign == "±"
        assert float(interval.replace(",", "")) == pytest.approx(
            unit.scale * half_interval(figures, "it"), rel=0.06
        )
        number = float(shown.replace(",", ""))
        assert judged({"it": number}, f"it {sense} {asked * unit.scale!r}").holds is goal.holds


@pytest.mark.parametrize(
    ("value", "half", "goal", "row"),
    [
        (0.998, 0.037, ">= 1", ["≥ 1 times", "0.998 ± 0.037 times", "**MISSED**, within ±"]),
        (0.9, 0.037, ">= 1", ["≥ 1 times", "0.900 ± 0.037 times", "**MISSED**"]),
        (1.002, 0.051, ">= 1", ["≥ 1 times", "1.002 ± 0.051 times", "holds, within ±"]),
        (1.2, 0.051, ">= 1", ["≥ 1 times", "1.200 ± 0.051 times", "holds"]),
        (0.9999, 0.2, ">= 1", ["≥ 1 times", "0.9999 ± 0.20 times", "**MISSED**, within ±"]),
        (1.0, 0.0, ">= 1", ["≥ 1 times", "1 ± 0 times", "holds"]),
        (1.0, math.nan, "< 1", ["< 1 times", "1 times", "**MISSED**"]),
    ],
)
def test_the_page_says_so(
    record_of: RecordOf, claims: tuple[Claim, ...], value: float, half: float, goal: str, row: list[str]
) -> None:
    known = {} if math.isnan(half) else {"bitfusion_ratio_half_interval": half}
    record = record_of({"bitfusion_ratio": value, **known}, [f"bitfusion_ratio {goal}"])
    text = page(claims, {"first": record}, "r")
    assert f"| BitFusion (modelled): ratio | {' | '.join(row)} |" in text.splitlines()
    missed = "**MISSED**" in row[-1]
    assert ("**MISSED**: 1 of 1 goals" if missed else "holds: 1 of 1 goals") in text, "counted as all others are"
