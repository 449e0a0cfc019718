"""Small charts as SVG that need no script: where lines, marks and ticks are, in the pixels of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 14.0, 12.0, 44.0
_MOST_POINTS = 400
_TICKS = 7
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Tick:
    """A number at an axis: where it is in pixels, and as text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with an interval from ``low`` to ``high`` upwards, all in pixels; ``holds``: y is in it."""

    x: float
    y: float
    low: float
    high: float
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of `WIDTH` by `HEIGHT`; ``line`` is the points of a polyline, empty where there is none."""

    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    line: str = ""
    marks: tuple[Mark, ...] = ()
    diagonal: tuple[float, float, float, float] | None = None
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicted value with its half width, if that is known, beside the measured one."""

    predicted: float
    half_width: float
    measured: float
    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class _Side:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.at(value), f"{value:g}") for value in nice_ticks(self.low, self.high))


def line_chart(values: Sequence[float], x_label: str, y_label: str) -> Chart | None:
    """Values over 1, 2, ...; None where there is nothing to be drawn. Of many, evenly spread ones and the last."""
    if not values:
        return None
    step = max(1, math.ceil(len(values) / _MOST_POINTS))
    chosen = sorted({*range(0, len(values), step), len(values) - 1})
    across = _Side(1, max(2, len(values)), _LEFT, WIDTH - _RIGHT)
    up = _side(values, HEIGHT - _BOTTOM, _TOP)
    line = " ".join(f"{across.at(i + 1)},{up.at(values[i])}" for i in chosen)
    whole = tuple(tick for tick in across.ticks() if float(tick.text).is_integer())
    return Chart(x_label, y_label, whole, up.ticks(), line=line)


def pair_chart(pairs: Sequence[Pair], x_label: str, y_label: str) -> Chart | None:
    """Measured values across and predicted ones up, on one scale, so that the diagonal is where they agree."""
    if not pairs:
        return None
    values = [value for one in pairs for value in (one.measured, one.predicted)]
    across, up = _side(values, _LEFT, WIDTH - _RIGHT), _side(values, HEIGHT - _BOTTOM, _TOP)
    ends = (across.at(across.low), up.at(up.low), across.at(across.high), up.at(up.high))
    marks = tuple(_mark(one, across, up) for one in pairs)
    return Chart(x_label, y_label, across.ticks(), up.ticks(), marks=marks, diagonal=ends)


def nice_ticks(low: float, high: float) -> list[float]:
    """Some round numbers from ``low`` to ``high``, which differ."""
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(one * power for one in _STEPS if one * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _mark(one: Pair, across: _Side, up: _Side) -> Mark:
    low, high = (min(up.high, max(up.low, one.predicted + sign * one.half_width)) for sign in (-1, 1))
    holds = abs(one.predicted - one.measured) <= one.half_width
    return Mark(across.at(one.measured), up.at(one.predicted), up.at(low), up.at(high), holds, one.text)


def _side(values: Sequence[float], start: float, end: float) -> _Side:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return _Side(low - margin, high + margin, start, end)


@dataclass(frozen=True, slots=True)
class Span:
    """A predicted value with its interval, and what was measured, if it was, on one line of `WIDTH` pixels."""

    predicted: float
    low: float
    high: float
    measured: float | None
    test: float | None
    ticks: tuple[Tick, ...]
    width: float = WIDTH


def span(predicted: float, interval: tuple[float, float], measured: float | None, test: float | None) -> Span:
    """Where the values of one metric are on a line; all in one unit."""
    values = [predicted, *interval]
    side = _side(values + [one for one in (measured, test) if one is not None], 12.0, WIDTH - 12.0)
    return Span(
        predicted=side.at(predicted),
        low=side.at(interval[0]),
        high=side.at(interval[1]),
        measured=None if measured is None else side.at(measured),
        test=None if test is None else side.at(test),
        ticks=side.ticks(),
    )
