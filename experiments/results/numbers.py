"""Figures as the page writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bitfront.experiments.benchmarks.result import Goal, judged
from bitfront.experiments.results.claim import Unit

_SIGNS = {">=": "≥", "<=": "≤", ">": ">", "<": "<"}
_DIGITS = (4, 6, 9, 17)
_HALF_INTERVAL = "_half_interval"
_NOTHING = 1e-9


def is_interval(figure: str) -> bool:
    """Whether a figure only says how sure another one is."""
    return figure.endswith(_HALF_INTERVAL)


def half_interval(figures: Mapping[str, float], name: str) -> float:
    """Half of a figure's interval: NaN where it has none, 0 where all seeds gave the same, but for rounding."""
    half = figures.get(name + _HALF_INTERVAL, math.nan)
    return 0.0 if half <= _NOTHING * abs(figures[name]) else half


def is_within_interval(figures: Mapping[str, float], goal: Goal) -> bool:
    """Whether what is asked of a figure lies in its interval: then other seeds might have judged otherwise."""
    half = half_interval(figures, goal.figure)
    return half > 0 and abs(goal.value - float(goal.goal.split()[1])) <= half


def figure_text(figures: Mapping[str, float], name: str, unit: Unit) -> str:
    """A figure with its interval, where it has one, and its unit."""
    return f"{number_with_interval(figures, name, unit)} {unit.name}".rstrip()


def number_with_interval(figures: Mapping[str, float], name: str, unit: Unit) -> str:
    """A figure with its interval, where it has one, in its unit; then with as many decimals as that has."""
    return "".join(_number_and_interval(figures[name] * unit.scale, half_interval(figures, name) * unit.scale))


def _number_and_interval(value: float, half: float) -> tuple[str, str]:
    if math.isnan(half):
        return number_text(value), ""
    if half == 0:
        return number_text(value), " ± 0"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:z,.{decimals}f}", f" ± {half:,.{decimals}f}"


def goal_texts(goal: Goal, unit: Unit, half: float = math.nan) -> tuple[str, str]:
    """(what it should be, what it is), with as many digits as it takes to see whether it holds.

    ``half`` of its interval, in the figure's own unit, stands beside what it is, but where it is NaN.
    """
    sense, number = goal.goal.split()
    asked, value = float(number) * unit.scale, goal.value * unit.scale
    first, interval = _number_and_interval(value, half * unit.scale)
    for text in (first, *(number_text(value, digits) for digits in _DIGITS)):
        if judged({"it": float(text.replace(",", ""))}, f"it {sense} {asked}").holds is goal.holds:
            break
    return f"{_SIGNS[sense]} {number_text(asked)} {unit.name}".rstrip(), f"{text}{interval} {unit.name}".rstrip()


def number_text(value: float, digits: int = 4) -> str:
    """So many significant digits; whole numbers from 1,000 on are written out."""
    if abs(value) >= 10 ** min(digits, 3):
        return f"{value:,.{max(0, digits - len(str(int(abs(value)))))}f}"
    return f"{value:z.{digits}g}"
