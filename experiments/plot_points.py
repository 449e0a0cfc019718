"""What is drawn of a front: which metric goes where, in which unit, and the points as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import METRICS, Floats

Row = Mapping[str, Any]

SMALLEST, LARGEST = 8.0, 18.0
"""Diameters of marks in points."""
_WIDE = 8.0
_BYTES = ((1.0, "bytes"), (1024.0, "KiB"), (1024.0**2, "MiB"))
_COUNTS = ((1.0, ""), (1e3, "thousand"), (1e6, "million"), (1e9, "billion"))
_NAMES: dict[str, tuple[str, tuple[tuple[float, str], ...]]] = {
    "top1": ("Validation accuracy", ((0.01, "%"),)),
    "latency_ms": ("Latency", ((1e-3, "µs"), (1.0, "ms"))),
    "energy_mj": ("Energy", ((1e-3, "µJ"), (1.0, "mJ"))),
    "size_bytes": ("Size", _BYTES),
    "peak_memory_bytes": ("Peak memory", _BYTES),
    "macs": ("Multiply-accumulates", _COUNTS),
    "bitops": ("Bit operations", _COUNTS),
}


@dataclass(frozen=True, slots=True)
class FrontPicture:
    """What is to be drawn.

    ``rows`` are members as ``bitfront front --json`` prints them: ``candidate``, ``policy``, ``predicted``,
    ``measured`` (None where nothing was measured), ``dominated``, and short texts ``architecture`` and ``bits``
    where there are any. ``hypervolumes`` has one number per ``step``: generation, or epoch of islands.
    """

    rows: Sequence[Row]
    objectives: Sequence[str]
    hypervolumes: Sequence[float]
    title: str
    device: str
    step: str = "generation"

    @property
    def heading(self) -> str:
        """Title and device in one line."""
        return f"{self.title} on {self.device}"


@dataclass(frozen=True, slots=True)
class Axis:
    """A metric in the unit in which people read it: values are divided by ``scale``."""

    metric: str
    name: str
    scale: float
    unit: str

    @property
    def label(self) -> str:
        """Name with unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def text(self, value: float | None) -> str:
        """A value of the metric with its unit."""
        if value is None:
            return "not measured"
        number = f"{value / self.scale:.2f}" if self.metric == "top1" else f"{value / self.scale:.4g}"
        return f"{number} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Points:
    """n members in the units of the axes.

    ``predicted`` and ``measured`` are (n, 2), x and y; where there is no measured value, the predicted one
    stands. ``is_measured`` says whether any of the two was measured. ``shade`` is None, and ``shades`` are all
    0, where there are but two objectives.
    """

    x: Axis
    y: Axis
    shade: Axis | None
    predicted: Floats
    measured: Floats
    is_measured: NDArray[np.bool_]
    dominated: NDArray[np.bool_]
    shades: Floats
    diameters: Floats

    @property
    def log_ticks(self) -> list[float]:
        """Where a logarithmic x axis has its numbers; none where x does not span so much that it needs one."""
        values = np.concatenate([self.predicted[:, 0], self.measured[:, 0]])
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        if low <= 0 or high <= _WIDE * low:
            return []
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [step * 10.0**decade for decade in decades for step in (1, 2, 5)]

    @property
    def best_label(self) -> str:
        """What `staircase` shows."""
        return f"best measured {self.y.name.lower()} up to here"


def axis_of(metric: str, rows: Sequence[Row]) -> Axis:
    """The axis of a metric, in the largest unit that the members' values fill."""
    values = [row[kind].get(metric) for row in rows for kind in ("predicted", "measured")]
    largest = max((value for value in values if value is not None), default=0.0)
    name, units = _NAMES[metric]
    scale, unit = max((one for one in units if one[0] <= largest), default=units[0])
    return Axis(metric, name, scale, unit)


def points_of(picture: FrontPicture) -> Points:
    """The members as points."""
    rows = picture.rows
    metrics = _metrics(picture)
    y, x = axis_of(metrics[0], rows), axis_of(metrics[1], rows)
    shade = axis_of(metrics[2], rows) if len(metrics) > 2 else None
    shades = _column(rows, "predicted", shade)[:, 0] if shade else np.zeros(len(rows))
    predicted = _column(rows, "predicted", x, y)
    measured = _column(rows, "measured", x, y)
    missing = np.isnan(measured)
    return Points(
        x=x,
        y=y,
        shade=shade,
        predicted=predicted,
        measured=np.where(missing, predicted, measured),
        is_measured=np.asarray(~missing.all(axis=1)),
        dominated=np.array([bool(row["dominated"]) for row in rows], dtype=bool),
        shades=shades,
        diameters=_diameters(shades),
    )


def staircase(points: Points) -> Floats:
    """The best y up to each x among measured members, as the corners (k, 2) of a staircase."""
    chosen = points.measured[points.is_measured]
    if not len(chosen):
        return np.empty((0, 2))
    sign = 1.0 if METRICS[points.y.metric] == "max" else -1.0
    chosen = chosen[np.lexsort((-sign * chosen[:, 1], chosen[:, 0]))]
    best = np.maximum.accumulate(sign * chosen[:, 1])
    is_step = np.concatenate([[True], best[1:] > best[:-1]])
    return np.asarray(chosen[is_step])


def _metrics(picture: FrontPicture) -> list[str]:
    """Metrics for y, x and shade: accuracy, latency and size, as far as they are objectives."""
    wanted = list(picture.objectives)
    if len(wanted) < 2 and picture.rows:  # one objective alone makes no plane
        wanted += [metric for metric in METRICS if metric in picture.rows[0]["predicted"] and metric not in wanted]
    y = "top1" if "top1" in wanted else wanted[0]
    rest = [metric for metric in wanted if metric != y]
    x = "latency_ms" if "latency_ms" in rest else (rest or [y])[0]
    rest = [metric for metric in rest if metric != x]
    return [y, x, *(["size_bytes"] if "size_bytes" in rest else rest[:1])]


def _column(rows: Sequence[Row], kind: str, *axes: Axis) -> Floats:
    values = [[row[kind].get(axis.metric) for axis in axes] for row in rows]
    array = np.array([[np.nan if one is None else one for one in row] for row in values], dtype=np.float64)
    result: Floats = array.reshape(len(rows), len(axes)) / np.array([axis.scale for axis in axes])
    return result


def _diameters(shades: Floats) -> Floats:
    """Marks whose area grows with the shade."""
    low, high = (float(np.min(shades)), float(np.max(shades))) if len(shades) else (0.0, 0.0)
    share = (shades - low) / (high - low) if high > low else np.full(len(shades), 0.3)
    result: Floats = np.sqrt(SMALLEST**2 + share * (LARGEST**2 - SMALLEST**2))
    return result
