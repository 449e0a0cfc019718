"""One candidate: its network layer by layer, what was predicted and measured of it, what it costs, its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from bitfront.experiments.bundle.forms import format_names
from bitfront.experiments.bundle.names import MOST_SAMPLES
from bitfront.experiments.candidate_facts import candidate_facts
from bitfront.experiments.service.auth import Principal, Reader, form_needs
from bitfront.experiments.service.context import Served, Service
from bitfront.experiments.service.exports import device_names, job_key, listed_exports, pending, start_export
from bitfront.experiments.service.models import ExportAnswer, ExportRequest
from bitfront.experiments.service.routes.common import CandidateId, ExperimentId
from bitfront.experiments.spec_sections import ExportSection
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.web.axes import Scale, scale_of, scales_of
from bitfront.experiments.web.candidate_spread import spread_of
from bitfront.experiments.web.charts import Span, span
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.experiments.web.strip import Strip, strip_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_SECONDS = 3
"""After how long a page asks for news of an export."""
_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
FormWriter = Annotated[Principal, Depends(form_needs("write"))]


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric as the search had it, with half the interval where one is known, beside what was measured."""

    scale: Scale
    predicted: float | None
    half_width: float
    measured: float | None
    test: float | None
    line: Span | None


@dataclass(frozen=True, slots=True)
class CostShare:
    """What a block costs: metric to value and share of the largest block's, 0 to 1."""

    block: str
    estimated: bool
    values: Mapping[str, float]
    shares: Mapping[str, float]


@router.get("/experiments/{experiment_id}/candidates/{candidate_id}")
def candidate(
    experiment_id: ExperimentId, candidate_id: CandidateId, request: Request, service: Served, who: Reader
) -> Response:
    """The page."""
    one = service.store.get(experiment_id)
    facts = candidate_facts(service.store, service.home, experiment_id, candidate_id)
    exports = exports_of(service, one, candidate_id)
    spread = spread_of(service.store, one, service.store.candidate(experiment_id, candidate_id))
    return page(
        request,
        "candidate.html",
        who,
        one=one,
        facts=facts,
        judged=judged(facts["predicted"], facts["measured"] or {}, spread.widths, one.spec),
        is_mean_spread=spread.is_mean,
        strips=strips(facts["layers"]),
        costs=costs_by_device(facts["costs"]),
        exports=exports,
        formats=format_names(),
        runtimes=_RUNTIMES,
        usual=ExportSection.model_validate(one.spec.get("export", {})),
        most_samples=MOST_SAMPLES,
        seconds=_SECONDS if any(file.state == "running" for file in exports) else 0,
    )


@router.post("/experiments/{experiment_id}/candidates/{candidate_id}/export")
def export(
    experiment_id: ExperimentId,
    candidate_id: CandidateId,
    service: Served,
    _: FormWriter,
    format_name: Annotated[str, Form(alias="format", max_length=20)] = "onnx",
    runtime: Annotated[Literal["onnxruntime", "openvino"] | None, Form()] = None,
    samples: Annotated[int | None, Form(ge=0, le=MOST_SAMPLES)] = None,
) -> Response:
    """Begin to export it; its page says when the file is ready."""
    wanted = ExportRequest(candidate=candidate_id, format=format_name, runtime=runtime, samples=samples)
    start_export(service, experiment_id, wanted)
    return RedirectResponse(f"/experiments/{experiment_id}/candidates/{candidate_id}#export", status_code=303)


def judged(
    predicted: Mapping[str, float],
    measured: Mapping[str, float | None],
    spreads: Mapping[str, float],
    spec: Mapping[str, Any] | None = None,
) -> list[Judged]:
    """Every metric; those that were predicted, and measured too or have an interval, with a line to be drawn."""
    found = []
    known = {name: value for name, value in measured.items() if value is not None}
    for name, scale in scales_of([predicted, known], spec).items():
        test = known.get(name.replace("top1", "top1_test", 1)) if scale.axis.metric == "top1" else None
        found.append(_judged(scale, predicted.get(name), spreads.get(name), known.get(name), test))
    return found


def _judged(
    scale: Scale, predicted: float | None, half_width: float | None, measured: float | None, test: float | None
) -> Judged:
    unit, width = scale.axis.scale, half_width or 0.0
    line = None
    if predicted is not None and (half_width is not None or measured is not None):
        others = [None if one is None else one / unit for one in (measured, test)]
        # Only accuracies have intervals, and none of these is outside 0 to 1.
        interval = (max(0.0, predicted - width), min(1.0, predicted + width)) if width else (predicted, predicted)
        line = span(predicted / unit, (interval[0] / unit, interval[1] / unit), others[0], others[1])
    return Judged(scale, predicted, width, measured, test, line)


def strips(layers: Sequence[Mapping[str, Any]]) -> dict[str, Strip]:
    """The layers of each network as a strip, by device, or under ``""`` where one serves all."""
    return {owner: strip_of(list(own)) for owner, own in groupby(layers, key=lambda layer: str(layer["device"]))}


def costs_by_device(
    costs: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[list[Scale], list[CostShare], dict[str, float]]]:
    """By device: the scales of what blocks cost, the blocks, and the sums."""
    found = {}
    for device, own in groupby(costs, key=lambda one: str(one["device"])):
        rows = list(own)
        names = [name for name in ("latency_ms", "energy_mj") if name in rows[0]["costs"]]
        most = {name: max(row["costs"][name] for row in rows) for name in names}
        shares = [
            CostShare(
                row["block"],
                row["estimated"],
                row["costs"],
                {name: row["costs"][name] / most[name] if most[name] > 0 else 0.0 for name in names},
            )
            for row in rows
        ]
        total = {name: sum(row["costs"][name] for row in rows) for name in names}
        found[device] = ([scale_of(name, most[name]) for name in names], shares, total)
    return found


def exports_of(service: Service, one: Experiment, candidate_id: int) -> list[ExportAnswer]:
    """What was exported of a candidate, and what is in progress or failed since."""
    found = [export for export in listed_exports(service, one.id) if export.candidate == candidate_id]
    for format_name, device in product(format_names(), ("", *device_names(one))):
        job = service.jobs.find(job_key(one.id, candidate_id, format_name, device))
        if job is not None and (job.error or not job.done.is_set()):
            state = "failed" if job.done.is_set() else "running"
            found.insert(0, pending(candidate_id, format_name, device, state, job.error))
    return found
