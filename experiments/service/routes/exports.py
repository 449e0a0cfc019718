"""Candidates as model files."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from bitfront.experiments.service import exports
from bitfront.experiments.service.auth import Reader, Writer
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.jobs import until_done
from bitfront.experiments.service.models import ExportAnswer, ExportList, ExportRequest
from bitfront.experiments.service.routes.common import PREFIX, CandidateId, ExperimentId, binary

router = APIRouter(tags=["exports"])
Format = Annotated[str, Query(alias="format", max_length=20, examples=["onnx"])]
Device = Annotated[str, Query(max_length=100, description="Whose, where each device has a policy of its own.")]


@router.get("/experiments/{experiment_id}/exports", operation_id="listExports")
def list_exports(experiment_id: ExperimentId, service: Served, _: Reader) -> ExportList:
    """What was exported of an experiment."""
    return ExportList(items=exports.listed_exports(service, experiment_id))


@router.post("/experiments/{experiment_id}/exports", operation_id="exportCandidate", status_code=202)
async def start(
    response: Response,
    experiment_id: ExperimentId,
    wanted: ExportRequest,
    service: Served,
    _: Writer,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for it.")] = 0,
) -> ExportAnswer:
    """Export a candidate, in a process of its own; the header `Location` says where to ask how it stands.

    It is tested by itself on the test split before it is ready.
    """
    job = await run_in_threadpool(exports.start_export, service, experiment_id, wanted)
    query = urlencode({"format": wanted.format, "device": wanted.device})
    place = f"{PREFIX}/experiments/{quote(experiment_id)}/exports/{wanted.candidate}?{query}"
    response.headers["Location"] = place
    await until_done(job, wait)
    named = (experiment_id, wanted.candidate, wanted.format, wanted.device)
    return await run_in_threadpool(exports.export_state, service, *named)


@router.get("/experiments/{experiment_id}/exports/{candidate_id}", operation_id="getExport")
def state(
    experiment_id: ExperimentId,
    candidate_id: CandidateId,
    service: Served,
    _: Reader,
    format_name: Format = "onnx",
    device: Device = "",
) -> ExportAnswer:
    """How an export stands."""
    return exports.export_state(service, experiment_id, candidate_id, format_name, device)


@router.get(
    "/experiments/{experiment_id}/exports/{candidate_id}/file",
    operation_id="downloadExport",
    response_class=StreamingResponse,
    responses=binary("application/octet-stream", "The model; `X-Content-SHA256` is its hash."),
)
def file(
    experiment_id: ExperimentId,
    candidate_id: CandidateId,
    service: Served,
    _: Reader,
    format_name: Format = "onnx",
    device: Device = "",
) -> StreamingResponse:
    """The model, if it still is what was exported: one file, or a zip file of its bundle where it is several."""
    return exports.download(service, experiment_id, candidate_id, format_name, device)


@router.get(
    "/experiments/{experiment_id}/exports/{candidate_id}/bundle",
    operation_id="downloadBundle",
    response_class=StreamingResponse,
    responses=binary("application/octet-stream", "A zip file; `X-Content-SHA256` is its hash."),
)
def bundle(
    experiment_id: ExperimentId,
    candidate_id: CandidateId,
    service: Served,
    _: Reader,
    format_name: Format = "onnx",
    device: Device = "",
) -> StreamingResponse:
    """The model with its manifest, card, samples and sums as a zip file.

    It is sent only while the model is the one that was exported, and every other file that of the sums.
    """
    return exports.download(service, experiment_id, candidate_id, format_name, device, whole=True)
