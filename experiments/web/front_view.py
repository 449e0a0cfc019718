"""The front of an experiment as its page shows it: what is predicted beside what was measured, never mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bitfront.experiments.rows import front_rows
from bitfront.experiments.store.base import MOST_PER_PAGE, Store
from bitfront.experiments.store.records import Candidate, Experiment
from bitfront.experiments.web.axes import PREDICTED, Scale, chosen_axes, scales_of
from bitfront.search.constraints import base_metric

Values = dict[str, float]
CLOUD = 3000
"""How many candidates stand for all others in a plot."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the predicted front, or one that was measured; ``measured`` is empty where nothing was."""

    candidate: int
    predicted: Values
    measured: Values
    on_front: bool
    dominated: bool
    error: str
    architecture: str = ""
    bits: str = ""

    @property
    def state(self) -> str:
        """Where it stands, in a word or two."""
        if self.error or not self.measured:
            return "not measured"
        return "measured, dominated" if self.dominated else "measured"


@dataclass(frozen=True)
class FrontView:
    """Members, measured ones first, then by predicted accuracy, with the scales of their metrics.

    What follows from them is found once: a page asks for it at every member.
    """

    members: tuple[Member, ...]
    objectives: tuple[str, ...]
    scales: Mapping[str, Scale]

    @cached_property
    def drawn(self) -> list[str]:
        """The metrics that can be an axis: those that the search has of every member that could be scored."""
        scored = [one.predicted for one in self.members if one.predicted]
        return [name for name in self.scales if scored and all(name in values for values in scored)]

    @cached_property
    def found(self) -> str:
        """How the search came by its values, in a word or two."""
        kinds = {self.scales[name].found for name in self.drawn}
        return PREDICTED if kinds <= {PREDICTED} else "predicted or measured in the search"

    @cached_property
    def measured(self) -> list[str]:
        """The metrics that were measured of any member."""
        return [name for name in self.scales if any(name in one.measured for one in self.members)]

    @cached_property
    def columns(self) -> list[str]:
        """The metrics of the table: objectives, and what else was measured."""
        extra = [name for name in self.measured if name not in self.objectives]
        return [*(name for name in self.objectives if name in self.scales), *extra]

    @cached_property
    def tests(self) -> dict[str, Scale]:
        """Accuracies on the test split, which are for the reader alone and named apart, with their scales."""
        return {
            name.replace("top1", "top1_test", 1): scale
            for name, scale in self.scales.items()
            if any(name.replace("top1", "top1_test", 1) in one.measured for one in self.members)
            and scale.axis.metric == "top1"
        }

    def within(self, limits: Mapping[str, float]) -> list[Member]:
        """Members whose predicted metrics keep limits such as ``{"min.top1": 0.9}``."""
        return [one for one in self.members if all(_keeps(one, name, limit) for name, limit in limits.items())]


def front_view(store: Store, experiment: Experiment) -> FrontView:
    """The front as it is stored now, by whatever the search and the measuring left so far."""
    rows = front_rows(store, experiment.id)
    measured = {row["candidate"]: row for row in rows}
    predicted = list(_predicted_front(store, experiment.id))
    on_front = {one.id for one in predicted}
    members = [_of_row(row, row["candidate"] in on_front) for row in rows]
    members += [Member(one.id, one.predicted, {}, True, False, "") for one in predicted if one.id not in measured]
    members.sort(key=lambda one: (not one.measured, -_accuracy(one.predicted), one.candidate))
    scales = scales_of([values for one in members for values in (one.predicted, one.measured)], experiment.spec)
    return FrontView(tuple(members), tuple(experiment.spec["objectives"]), scales)


def _predicted_front(store: Store, experiment_id: str) -> Iterator[Candidate]:
    """All of it, however many there are."""
    cursor, is_more = None, True
    while is_more:
        found = store.candidates(experiment_id, cursor, MOST_PER_PAGE, on_front=True)
        yield from found.items
        cursor, is_more = found.next_cursor, found.next_cursor is not None


def plot_data(store: Store, experiment: Experiment, x: str = "", y: str = "") -> dict[str, Any]:
    """JSON-able: what the plots of an experiment's page draw. Every member of the front is there."""
    view = front_view(store, experiment)
    axes = chosen_axes(view.drawn, view.objectives, x, y) if view.drawn else None
    on_front = sum(one.on_front for one in view.members)
    return {
        "experiment": experiment.id,
        "over": experiment.status.is_over,
        "objectives": list(view.objectives),
        "scales": {name: scale.as_json() for name, scale in view.scales.items()},
        "drawn": view.drawn,
        "axes": list(axes) if axes else None,
        "members": [_plain(one) for one in view.members],
        "cloud": _cloud(store, experiment.id, on_front, *axes) if axes else None,
    }


def _cloud(store: Store, experiment_id: str, on_front: int, x: str, y: str) -> dict[str, Any]:
    """Candidates that stand for all that are on no front, beside ``on_front`` members that are drawn anyway."""
    found = store.thinned(experiment_id, x, y, min(MOST_PER_PAGE, CLOUD + on_front))
    shown = [one for one in found.candidates if not one.on_front]
    return {
        "total": found.total,
        "id": [one.id for one in shown],
        "x": [one.predicted[x] for one in shown],
        "y": [one.predicted[y] for one in shown],
    }


def _plain(one: Member) -> dict[str, Any]:
    return {
        "id": one.candidate, "predicted": one.predicted, "measured": one.measured, "state": one.state,
        "dominated": one.dominated, "architecture": one.architecture, "bits": one.bits,
    }  # fmt: skip


def _of_row(row: Mapping[str, Any], on_front: bool) -> Member:
    return Member(
        candidate=row["candidate"],
        predicted=row["predicted"],
        measured=_known(row["measured"]),
        on_front=on_front,
        dominated=row["dominated"],
        error=row["error"] or "",
        architecture=row["architecture"],
        bits=row["bits"],
    )


def _known(values: Mapping[str, float | None]) -> Values:
    """What was measured."""
    return {name: value for name, value in values.items() if value is not None}


def _accuracy(values: Mapping[str, float]) -> float:
    return sum(value for name, value in values.items() if base_metric(name) == "top1")


def _keeps(one: Member, name: str, limit: float) -> bool:
    side, _, metric = name.partition(".")
    value = one.predicted.get(metric)
    if value is None:
        return False
    return value >= limit if side == "min" else value <= limit


def limits_of(query: Sequence[tuple[str, str]], scales: Mapping[str, Scale]) -> dict[str, float]:
    """Limits as the filter's fields give them, in the units of ``scales``; what is no number is no limit."""
    found = {}
    for name, text in query:
        side, _, metric = name.partition(".")
        if side in ("min", "max") and metric in scales:
            try:
                found[name] = float(text) * scales[metric].axis.scale
            except ValueError:
                continue
    return found
