"""Metrics as pages show them: a name, and a unit in which the numbers at hand are easy to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitfront.experiments.plot_points import Axis, axis_of
from bitfront.search.constraints import METRICS, base_metric

NOTHING = "\N{EN DASH}"
PREDICTED, SEARCHED = "predicted", "measured in the search"
_SHORT = {"top1": "Accuracy"}


@dataclass(frozen=True, slots=True)
class Scale:
    """A metric, or METRIC@DEVICE, with the axis of the plain metric; ``found``: how a search knows its values."""

    metric: str
    axis: Axis
    found: str = PREDICTED

    @property
    def device(self) -> str:
        """The device behind the @; empty where there is none."""
        return self.metric.partition("@")[2]

    @property
    def name(self) -> str:
        """Such as ``Latency on phone``."""
        own = _SHORT.get(self.axis.metric, self.axis.name)
        return f"{own} on {self.device}" if self.device else own

    @property
    def label(self) -> str:
        """The name with its unit."""
        return f"{self.name} ({self.axis.unit})" if self.axis.unit else self.name

    @property
    def better(self) -> str:
        """Which way is better."""
        return "higher" if METRICS[self.axis.metric] == "max" else "lower"

    def text(self, value: float | None) -> str:
        """A value with its unit; a dash where there is none."""
        return NOTHING if value is None else self.axis.text(value)

    def number(self, value: float | None) -> str:
        """A value in the unit, without it."""
        return NOTHING if value is None else self.text(value).removesuffix(self.axis.unit).strip()

    def as_json(self) -> dict[str, Any]:
        """What scripts need to draw it."""
        return {
            "metric": self.metric, "name": self.name, "label": self.label, "scale": self.axis.scale,
            "unit": self.axis.unit, "better": self.better, "found": self.found,
        }  # fmt: skip


def scales_of(rows: Sequence[Mapping[str, float]], spec: Mapping[str, Any] | None = None) -> dict[str, Scale]:
    """The scales of all metrics that any of ``rows`` has, in the order of `METRICS`; other names are left out.

    ``spec``: the experiment's, which says whether the search measured accuracies.
    """
    largest: dict[str, float] = {}
    for row in rows:
        for metric, value in row.items():
            if base_metric(metric) in METRICS:
                largest[metric] = max(value, largest.get(metric, 0.0))
    return {metric: scale_of(metric, largest[metric], spec) for metric in in_order(largest)}


def scale_of(metric: str, largest: float, spec: Mapping[str, Any] | None = None) -> Scale:
    """The scale of a metric whose values go up to ``largest``; ``spec`` as for `scales_of`."""
    base = base_metric(metric)
    found = SEARCHED if base == "top1" and spec and measures_accuracy(spec) else PREDICTED
    return Scale(metric, axis_of(base, [{"predicted": {base: largest}, "measured": {}}]), found)


def measures_accuracy(spec: Mapping[str, Any]) -> bool:
    """Whether the accuracies that a search stores as predicted are measured ones."""
    return bool(spec.get("search", {}).get("accuracy") == "measured")


def in_order(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order of `METRICS`, those of devices behind the plain one, by name."""
    known = list(METRICS)
    return sorted(metrics, key=lambda metric: (known.index(base_metric(metric)), metric))


def chosen_axes(metrics: Sequence[str], objectives: Sequence[str], x: str = "", y: str = "") -> tuple[str, str]:
    """The metrics across and up: what was asked for where it is there, else latency and accuracy if these are.

    Args:
        metrics: those that are there, at least one.
        objectives: those that are searched for.
        x: what was asked for across.
        y: what was asked for up.
    """
    first = [one for one in objectives if one in metrics] or list(metrics)
    up = y if y in metrics else next((one for one in first if base_metric(one) == "top1"), first[0])
    others = [one for one in first if one != up] or [one for one in metrics if one != up] or [up]
    across = x if x in metrics else next((one for one in others if base_metric(one) == "latency_ms"), others[0])
    return across, up
