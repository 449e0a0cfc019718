"""What watches the service asks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi import APIRouter, Response

from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.machine_models import Health, Readiness
from bitfront.supernet.errors import BitfrontError

router = APIRouter(tags=["health"])
_METRICS = "text/plain; version=1.0.0; charset=utf-8"


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """Whether the service answers, also while every thread waits for the store; needs no token."""
    return Health(status="ok")


@router.get(
    "/readyz", operation_id="readyz", responses={503: {"model": Readiness, "description": "It can not work now."}}
)
def readyz(response: Response, service: Served) -> Readiness:
    """Whether the store answers and the home can be written; needs no token."""
    checks = {"store": _store(service), "disk": _disk(service.home)}
    ready = all(state == "ok" for state in checks.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, checks=checks)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(service: Served, _: Reader) -> Response:
    """Prometheus metrics."""
    return Response(service.metrics.text(), media_type=_METRICS)


def _store(service: Served) -> str:
    try:
        service.store.ping()
    except BitfrontError:
        return "does not answer"
    return "ok"


def _disk(home: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"\0" * 4096)
    except OSError:
        return "can not be written"
    return "ok"
