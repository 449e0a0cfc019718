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


def figure_text(figures: Mapping[str, float], name: str, unit: Unit) -> str:
    """A figure with its interval, where it has one, and its unit."""
    return f"{number_with_interval(figures, name, unit)} {unit.name}".rstrip()


def number_with_interval(figures: Mapping[str, float], name: str, unit: Unit) -> str:
    """A figure with its interval, where it has one, in its unit; then with as many decimals as that has."""
    value, half = figures[name] * unit.scale, figures.get(name + _HALF_INTERVAL, math.nan) * unit.scale
    if math.isnan(half):
        return number_text(value)
    if half <= _NOTHING * abs(value):  # the same value in every seed, but for rounding
        return f"{number_text(value)} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:,.{decimals}f} ± {half:,.{decimals}f}"


def goal_texts(goal: Goal, unit: Unit) -> tuple[str, str]:
    """(what it should be, what it is), with as many digits as it takes to see whether it holds."""
    sense, number = goal.goal.split()
    asked = float(number) * unit.scale
    for digits in _DIGITS:
        text = number_text(goal.value * unit.scale, digits)
        if judged({"it": float(text.replace(",", ""))}, f"it {sense} {asked}").holds is goal.holds:
            break
    return f"{_SIGNS[sense]} {number_text(asked)} {unit.name}".rstrip(), f"{text} {unit.name}".rstrip()


def number_text(value: float, digits: int = 4) -> str:
    """So many significant digits; whole numbers from 1,000 on are written out."""
    if abs(value) >= 10 ** min(digits, 3):
        return f"{value:,.{max(0, digits - len(str(int(abs(value)))))}f}"
    return f"{value:.{digits}g}"
