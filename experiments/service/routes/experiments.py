"""Launching, listing, cancelling, resuming and removing experiments."""

from __future__ import annotations

import codecs
import re
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from bitfront.experiments.cancelling import cancel as cancel_one
from bitfront.experiments.places import log_path
from bitfront.experiments.resuming import resume as queued_again
from bitfront.experiments.service.answers import experiment_answer, experiment_details
from bitfront.experiments.service.auth import Admin, Reader, Writer, needs
from bitfront.experiments.service.context import Served, Service
from bitfront.experiments.service.machine_models import NothingAnswer
from bitfront.experiments.service.models import ExperimentAnswer, ExperimentDetails, ExperimentPage
from bitfront.experiments.service.refusals import InvalidRequestError, NotFoundError
from bitfront.experiments.service.routes.common import PREFIX, Cursor, ExperimentId
from bitfront.experiments.service.spec_bodies import SPEC_BODY
from bitfront.experiments.service.specs import SOURCE, read_sent
from bitfront.experiments.spec import Spec, SpecError
from bitfront.experiments.spec_meaning import uploaded_problems
from bitfront.experiments.store.base import LONGEST_KEY
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.upkeep.pruning import delete_files

router = APIRouter(tags=["experiments"])
_KEY = re.compile(r"[\x21-\x7e]+")
_LOG_PART = 2**20

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A word of your own: sent again with the same spec, the first experiment is answered.",
        examples=["5f2c6d1e"],
    ),
]


@router.get("/experiments", operation_id="listExperiments")
def list_experiments(
    service: Served,
    _: Reader,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    status: Annotated[Status | None, Query(description="Only those of this status.")] = None,
) -> ExperimentPage:
    """Experiments, newest first."""
    page = service.store.list_experiments(cursor, limit, status)
    return ExperimentPage(items=list(map(experiment_answer, page.items)), next_cursor=page.next_cursor)


@router.post(
    "/experiments",
    operation_id="launchExperiment",
    status_code=202,
    dependencies=[Depends(needs("write"))],
    openapi_extra=SPEC_BODY,
)
async def launch(
    request: Request, response: Response, service: Served, idempotency_key: Key = None
) -> ExperimentAnswer:
    """Queue an experiment; a worker takes it up. The body is its spec, as JSON or YAML."""
    body = await request.body()
    kind = request.headers.get("content-type", "")
    _check_key(idempotency_key)
    spec = await run_sync(read_sent, body, kind, service.settings, limiter=service.parsing)
    experiment = await run_in_threadpool(create, service, spec, idempotency_key)
    response.headers["Location"] = f"{PREFIX}/experiments/{experiment.id}"
    return experiment_answer(experiment)


def _check_key(key: str | None) -> None:
    if key is not None and (len(key) > LONGEST_KEY or not _KEY.fullmatch(key)):
        raise InvalidRequestError(
            "an idempotency key is visible ASCII without spaces",
            f"give 1 to {LONGEST_KEY} such characters",
            "header.idempotency-key",
        )


def create(service: Service, spec: Spec, key: str | None = None) -> Experiment:
    """Queue a spec that was checked, as `bitfront run` does.

    Raises:
        SpecError: it names an uploaded predictor of another space.
        DataError: the data can not be read.
    """
    fitted = spec.fitted()
    if problems := list(
        uploaded_problems(fitted, service.home, is_fitted=True)
    ):  # now that the whole space is known
        raise SpecError(SOURCE, problems)
    return service.store.create_experiment(fitted.name, fitted.as_json(), fitted.seed, key)


@router.get("/experiments/{experiment_id}", operation_id="getExperiment")
def get(experiment_id: ExperimentId, service: Served, _: Reader) -> ExperimentDetails:
    """An experiment with its spec and all that belongs to it."""
    return experiment_details(service.store, service.home, service.store.get(experiment_id))


@router.delete("/experiments/{experiment_id}", operation_id="deleteExperiment")
def delete(experiment_id: ExperimentId, service: Served, _: Admin) -> NothingAnswer:
    """Remove an experiment with its candidates, exports and files; what it shares with others stays."""
    found = service.store.get(experiment_id)
    service.store.delete_experiment(found.id)
    # Named by the store's id and not by the request's word for it.
    delete_files(service.home, found.id)
    return NothingAnswer()


@router.post("/experiments/{experiment_id}/cancel", operation_id="cancelExperiment", status_code=202)
def cancel(experiment_id: ExperimentId, service: Served, _: Writer) -> ExperimentAnswer:
    """Ask for the end of an experiment; asking again is harmless. One that runs ends within seconds."""
    return experiment_answer(cancelled(service, experiment_id))


def cancelled(service: Service, experiment_id: str) -> Experiment:
    """The experiment after somebody asked for its end; see `cancelling.cancel`."""
    return cancel_one(service.store, experiment_id)


@router.post("/experiments/{experiment_id}/resume", operation_id="resumeExperiment", status_code=202)
def resume(experiment_id: ExperimentId, service: Served, _: Writer) -> ExperimentAnswer:
    """Queue an experiment again that was cancelled, interrupted or failed; it goes on from where it was."""
    return experiment_answer(queued_again(service.store, service.home, experiment_id))


@router.get(
    "/experiments/{experiment_id}/log",
    operation_id="getLog",
    response_class=PlainTextResponse,
    responses={200: {"headers": {"X-Next-Offset": {"schema": {"type": "integer"}}}}},
)
def log(
    experiment_id: ExperimentId,
    service: Served,
    _: Reader,
    offset: Annotated[int, Query(ge=0, le=2**62, description="Bytes to leave out.")] = 0,
) -> PlainTextResponse:
    """The log's text, a megabyte at most; the header `X-Next-Offset` says where to go on."""
    found = service.store.get(experiment_id)
    path = log_path(service.home, found.id)
    if not path.is_file():
        raise NotFoundError(f"{found.id} has no log yet", "come back when it runs", "path.experiment_id")
    with path.open("rb") as file:
        file.seek(min(offset, path.stat().st_size))
        # A character whose last bytes are not in this part, or not written yet, begins the next one.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(file.read(_LOG_PART))
        following = file.tell() - len(decoder.getstate()[0])
        return PlainTextResponse(text, headers={"X-Next-Offset": str(following)})
