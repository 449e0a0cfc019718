"""One experiment: how it stands, its front, what its genes are worth, its log."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from bitfront.experiments.details import details
from bitfront.experiments.importances import experiment_importances
from bitfront.experiments.metric_words import metric_lines
from bitfront.experiments.places import log_path
from bitfront.experiments.resuming import resume as queued_again
from bitfront.experiments.service.auth import Principal, Reader, form_needs
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.routes.common import ExperimentId
from bitfront.experiments.service.routes.experiments import cancelled
from bitfront.experiments.store.statuses import Status, next_statuses
from bitfront.experiments.web.axes import in_order, scale_of
from bitfront.experiments.web.charts import line_chart
from bitfront.experiments.web.front_view import front_view, limits_of, plot_data
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page

router = APIRouter(route_class=PageRoute, include_in_schema=False)
FormWriter = Annotated[Principal, Depends(form_needs("write"))]
Metric = Annotated[str, Query(max_length=200)]
_MOST_ROWS = 300
_LOG_TAIL = 16_384
_MOST_GENES = 25


@router.get("/experiments/{experiment_id}")
def experiment(experiment_id: ExperimentId, request: Request, service: Served, who: Reader) -> Response:
    """The page; its query may limit the table: ``min.METRIC`` and ``max.METRIC``."""
    store = service.store
    one = store.get(experiment_id)
    view, facts = front_view(store, one), details(store, service.home, one)
    limits = limits_of(request.query_params.multi_items(), view.scales)
    shown = view.within(limits)
    hypervolume = facts["search"]["hypervolume"]
    step = "Exchange of islands" if facts["search"]["islands"] else "Generation"
    return page(
        request,
        "experiment.html",
        who,
        one=one,
        facts=facts,
        view=view,
        members=shown[:_MOST_ROWS],
        hidden=len(shown) - len(shown[:_MOST_ROWS]),
        limits={name: request.query_params[name] for name in limits},
        growth=line_chart(hypervolume, step, "Hypervolume"),
        predictors=[(found, list(metric_lines(found["metrics"]))) for found in facts["predictors"]],
        log=log_tail(log_path(service.home, one.id)),
        can_cancel=one.status in (Status.QUEUED, Status.RUNNING, Status.INTERRUPTED),
        can_resume=Status.QUEUED in next_statuses(one.status) and not one.forgotten,
        is_over=one.status.is_over,
    )


@router.get("/experiments/{experiment_id}/plot.json")
def plot(
    experiment_id: ExperimentId, request: Request, service: Served, _: Reader, x: Metric = "", y: Metric = ""
) -> Response:
    """What the page's plots draw; the ETag changes when it does."""
    content = json.dumps(plot_data(service.store, service.store.get(experiment_id), x, y), allow_nan=False)
    return tagged_json(request, content)


@router.get("/experiments/{experiment_id}/genes")
def genes(experiment_id: ExperimentId, request: Request, service: Served, who: Reader) -> Response:
    """How much of each metric's variance every gene explains; the experiment's page shows this too."""
    one = service.store.get(experiment_id)
    n, found = experiment_importances(service.store, experiment_id)
    metrics = [name for name in in_order(found) if name in one.spec["objectives"]]
    total = {gene: max(found[name][gene] for name in metrics) for gene in (found[metrics[0]] if metrics else ())}
    chosen = sorted(total, key=lambda gene: -total[gene])[:_MOST_GENES]
    rows = [(gene, [found[name][gene] for name in metrics]) for gene in chosen]
    scales = [scale_of(name, 1.0) for name in metrics]
    return page(request, "genes.html", who, one=one, n=n, rows=rows, scales=scales, genes=len(total))


@router.post("/experiments/{experiment_id}/cancel")
def cancel(experiment_id: ExperimentId, service: Served, _: FormWriter) -> Response:
    """Ask for the end of an experiment."""
    return _back(cancelled(service, experiment_id).id)


@router.post("/experiments/{experiment_id}/resume")
def resume(experiment_id: ExperimentId, service: Served, _: FormWriter) -> Response:
    """Queue an experiment again; it goes on from where it was."""
    return _back(queued_again(service.store, service.home, experiment_id).id)


def tagged_json(request: Request, content: str) -> Response:
    """JSON with its hash as ETag; 304 where the reader has it already."""
    tag = f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def log_tail(path: Path) -> str:
    """The end of a log, from the beginning of a line; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL))
            data = file.read()
    except OSError:
        return ""
    text = data.decode(errors="replace")
    rest = text.partition("\n")[2] if len(data) == _LOG_TAIL else ""
    return rest or text  # of a line that is longer than all that is shown, its end


def _back(experiment_id: str) -> Response:
    return RedirectResponse(f"/experiments/{experiment_id}", status_code=303)
