"""Fronts of several experiments, or of one on several devices, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.refusals import InvalidRequestError
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.service_records import ComparedMember
from bitfront.experiments.web.axes import SEARCHED, Scale, measures_accuracy, scale_of, scales_of
from bitfront.experiments.web.experiment_page import tagged_json
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.search.constraints import METRICS, base_metric

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_OFFERED = 100
_MOST = 8
_MOST_ROWS = 300

Ids = Annotated[Sequence[str], Query(alias="experiment", max_length=_MOST)]
Objective = Annotated[str, Query(max_length=200)]


@router.get("/compare")
def compare(
    request: Request, service: Served, who: Reader, ids: Ids = (), x: Objective = "", y: Objective = "",
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:  # fmt: skip
    """The page: which experiments, and their fronts where any are chosen."""
    chosen, objectives, found, scales = _compared(service.store, ids, x, y)
    listed = service.store.list_experiments(cursor or None, _OFFERED)
    return page(
        request,
        "compare.html",
        who,
        offered=_offered(service.store, chosen, listed.items),
        older=listed.next_cursor,
        is_newest=not cursor,
        chosen=chosen,
        searched=_searched(service.store, chosen),
        most=_MOST,
        objectives=objectives,
        metrics=_names(objectives),
        groups=_groups(found),
        scales=scales,
        names=[name for name in objectives if name in scales],
        rows=sorted(found, key=lambda one: one.dominated)[:_MOST_ROWS],
        hidden=max(0, len(found) - _MOST_ROWS),
        measured_in_search=SEARCHED,
        query=request.url.query,
    )


@router.get("/compare/plot.json")
def plot(
    request: Request,
    service: Served,
    _: Reader,
    ids: Ids = (),
    x: Objective = "",
    y: Objective = "",
) -> Response:
    """What the page's plot draws: every member of every front."""
    chosen, objectives, found, scales = _compared(service.store, ids, x, y)
    searched = _searched(service.store, chosen)
    groups = [
        {"name": name, "searched": own[0].experiment_id in searched, "members": [_plain(one) for one in own]}
        for name, own in _groups(found).items()
    ]
    content = {
        "axes": [objectives[1], objectives[0]] if len(scales) == len(objectives) else None,
        "scales": {name: scale.as_json() for name, scale in scales.items()},
        "groups": groups,
    }
    return tagged_json(request, json.dumps(content, allow_nan=False))


def _compared(
    store: Store, ids: Sequence[str], x: str, y: str
) -> tuple[list[str], list[str], Sequence[ComparedMember], Mapping[str, Scale]]:
    """Different experiments that are there, the objectives up and across, and members with the scales of both."""
    chosen = [store.get(one).id for one in dict.fromkeys(ids)]
    up, across = y or "top1", x or "latency_ms"
    if up == across:
        raise InvalidRequestError(f"both axes are {up}", "choose two different metrics", "query.x")
    found = store.compare(chosen, [up, across]) if chosen else ()
    scales = scales_of([values for one in found for values in (one.predicted, one.measured)])
    return chosen, [up, across], found, scales


def _names(objectives: Sequence[str]) -> dict[str, str]:
    """Every metric, and those of devices that were asked for, with what people call it."""
    wanted = [name for name in objectives if base_metric(name) in METRICS]
    return {name: scale_of(name, 0.0).name for name in dict.fromkeys([*METRICS, *wanted])}


def _offered(store: Store, chosen: Sequence[str], listed: Sequence[Experiment]) -> list[Experiment]:
    """Those that are chosen, and the listed ones."""
    return [*map(store.get, chosen), *(one for one in listed if one.id not in chosen)]


def _searched(store: Store, chosen: Sequence[str]) -> list[str]:
    """The experiments whose accuracies are not predicted but were measured in the search."""
    return [one for one in chosen if measures_accuracy(store.get(one).spec)]


def _groups(found: Sequence[ComparedMember]) -> dict[str, list[ComparedMember]]:
    """Members by experiment and device."""
    groups: dict[str, list[ComparedMember]] = {}
    for one in found:
        name = f"{one.experiment_id} on {one.device}" if one.device else one.experiment_id
        groups.setdefault(name, []).append(one)
    return groups


def _plain(one: ComparedMember) -> dict[str, Any]:
    return {
        "experiment": one.experiment_id, "id": one.candidate.id, "predicted": dict(one.predicted),
        "measured": dict(one.measured), "dominated": one.dominated,
    }  # fmt: skip
