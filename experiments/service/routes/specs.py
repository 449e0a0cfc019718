"""Specs before they are launched: their schema, a commented one, and whether one is acceptable."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from bitfront.experiments.service.auth import Reader, needs
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.machine_models import SpecAnswer
from bitfront.experiments.service.spec_bodies import SPEC_BODY
from bitfront.experiments.service.specs import read_sent
from bitfront.experiments.spec import Spec
from bitfront.experiments.spec_template import template

router = APIRouter(tags=["specs"])


@router.get("/specs/schema", operation_id="getSpecSchema")
def schema(_: Reader) -> dict[str, Any]:
    """The JSON schema of a spec."""
    return Spec.model_json_schema()


@router.get("/specs/template", operation_id="getSpecTemplate", response_class=PlainTextResponse)
def commented(_: Reader) -> PlainTextResponse:
    """A commented spec in YAML, as `bitfront init` writes it."""
    return PlainTextResponse(template(), media_type="application/yaml")


@router.post(
    "/specs/check", operation_id="checkSpec", dependencies=[Depends(needs("write"))], openapi_extra=SPEC_BODY
)
async def check(request: Request, service: Served) -> SpecAnswer:
    """The spec with all its defaults, if it is acceptable; nothing is launched."""
    body, kind = await request.body(), request.headers.get("content-type", "")
    spec = await run_sync(read_sent, body, kind, service.settings, limiter=service.parsing)
    return SpecAnswer(spec=spec.as_json(), hash=spec.hash())
