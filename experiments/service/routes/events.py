"""News of an experiment as they come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from bitfront.experiments.service.auth import Reader, key_of
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.events import News, seen_until, stream
from bitfront.experiments.service.routes.common import ExperimentId

router = APIRouter(tags=["experiments"])


@router.get(
    "/experiments/{experiment_id}/events",
    operation_id="watchExperiment",
    response_class=StreamingResponse,
    responses={200: {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def events(
    experiment_id: ExperimentId,
    service: Served,
    request: Request,
    me: Reader,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=100, description="Where the reader was.")
    ] = None,
) -> StreamingResponse:
    """Server-sent events: `status`, `stage` and `progress` when they change, every `generation` once, `end`.

    A reader who comes back with the id of the last event gets the generations after it.
    """
    found = service.store.get(experiment_id)
    who = key_of(me, request)
    service.streams.check(who)
    news = News(service.store, found.id, seen_until(last_event_id))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(service, news, who), media_type="text/event-stream", headers=headers)
