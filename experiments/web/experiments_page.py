"""The list of experiments: where each stands, and the best that it found so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment, FrontMember
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.web.axes import Scale, in_order, scales_of
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.search.constraints import METRICS, base_metric

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_PER_PAGE = 20
_BUSY_SECONDS, _IDLE_SECONDS = 3, 20
"""After how long the list asks for news, where something runs or waits, and where all is over."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best value of an objective among members of the front, each taken for itself."""

    scale: Scale
    predicted: float | None
    measured: float | None


@router.get("/")
def home() -> Response:
    """The list is the first page."""
    return RedirectResponse("/experiments", status_code=307)


@router.get("/experiments")
def experiments(
    request: Request,
    service: Served,
    who: Reader,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    status: Status | Literal[""] = "",
) -> Response:
    """Experiments, newest first."""
    found = service.store.list_experiments(cursor, _PER_PAGE, status or None)
    return page(
        request,
        "experiments.html",
        who,
        rows=[(one, best_so_far(service.store, one)) for one in found.items],
        next_cursor=found.next_cursor,
        wanted=status,
        statuses=list(Status),
        is_first=cursor is None,
        seconds=_BUSY_SECONDS if any(not one.status.is_over for one in found.items) else _IDLE_SECONDS,
    )


def best_so_far(store: Store, experiment: Experiment) -> list[Best]:
    """The best of each objective on the predicted front, and what was measured of the measured one."""
    measured = [_measured(member) for member in store.front(experiment.id) if not member.dominated]
    wanted = in_order(experiment.spec["objectives"])
    predicted = {
        name: value for name in wanted if (value := _best_predicted(store, experiment.id, name)) is not None
    }
    scales = scales_of([predicted, *measured], experiment.spec)
    return [Best(scales[name], predicted.get(name), _best(name, measured)) for name in wanted if name in scales]


def _best_predicted(store: Store, experiment_id: str, name: str) -> float | None:
    order = f"-{name}" if METRICS[base_metric(name)] == "max" else name
    first = store.candidates(experiment_id, limit=1, order=order, on_front=True).items
    return first[0].predicted[name] if first else None


def _measured(member: FrontMember) -> dict[str, float]:
    own = {"top1": member.top1_validation, "latency_ms": member.latency_ms, **member.by_device}
    return {name: value for name, value in own.items() if value is not None}


def _best(name: str, rows: list[dict[str, float]]) -> float | None:
    pick = max if METRICS[base_metric(name)] == "max" else min
    return pick((row[name] for row in rows if name in row), default=None)
