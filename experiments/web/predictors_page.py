"""Predictors: how good each is on candidates that it has not seen, and how its predictions turned out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from bitfront.experiments.metric_words import metric_lines
from bitfront.experiments.predictor_facts import listed_predictors
from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment, FrontMember, PredictorRecord
from bitfront.experiments.web.charts import Pair, pair_chart
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.search.constraints import base_metric
from bitfront.supernet.errors import UnknownNameError

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PredictorId = Annotated[str, Path(max_length=100)]
_PERCENT = 100
_MOST_EXPERIMENTS = 1000


@router.get("/predictors")
def predictors(request: Request, service: Served, who: Reader) -> Response:
    """Every predictor, newest first."""
    return page(request, "predictors.html", who, rows=listed_predictors(service.store)[::-1])


@router.get("/predictors/{predictor_id}")
def predictor(predictor_id: PredictorId, request: Request, service: Served, who: Reader) -> Response:
    """One predictor, and the accuracies that were measured of members of fronts that it predicted."""
    record = service.store.predictor(predictor_id)
    if record is None:
        known = [one.id for one in service.store.predictors()]
        raise UnknownNameError("predictor", predictor_id, known)
    users = users_of(service.store, predictor_id)
    pairs = [pair for one in users for pair in pairs_of(service.store, one, half_width(record))]
    return page(
        request,
        "predictor.html",
        who,
        record=record,
        supernet=service.store.supernet(record.supernet_id),
        lines=list(metric_lines(record.metrics)),
        users=users,
        pairs=pairs,
        inside=sum(abs(one.predicted - one.measured) <= one.half_width for one in pairs),
        has_width="mean_half_width" in record.metrics,
        chart=pair_chart(pairs, "Measured accuracy (%)", "Predicted accuracy (%)"),
    )


def half_width(record: PredictorRecord) -> float:
    """Half of its mean interval on pairs that it has not seen, a fraction; 0 where that was not recorded."""
    return float(record.metrics.get("mean_half_width", 0.0))


def users_of(store: Store, predictor_id: str) -> list[Experiment]:
    """Experiments that searched with a predictor, newest first."""
    found = store.list_experiments(limit=_MOST_EXPERIMENTS).items
    return [one for one in found if one.predictor_id == predictor_id]


def pairs_of(store: Store, experiment: Experiment, width: float) -> Iterator[Pair]:
    """Predicted and measured accuracy on the validation split, in percent, of the measured front."""
    for member in store.front(experiment.id):
        number = member.candidate.id
        link = f"/experiments/{experiment.id}/candidates/{number}"
        for name, predicted in member.candidate.predicted.items():
            measured = _measured(member, name) if base_metric(name) == "top1" else None
            if measured is not None:
                words = f"candidate {number} of {experiment.id}: "
                words += f"predicted {predicted:.2%}, measured {measured:.2%}"
                yield Pair(_PERCENT * predicted, _PERCENT * width, _PERCENT * measured, words, link)


def _measured(member: FrontMember, name: str) -> float | None:
    return member.top1_validation if name == "top1" else member.by_device.get(name)
