"""What watches the service asks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi import APIRouter, Response

from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.machine_models import Health, Readiness
from bitfront.experiments.service.refusals import NotReadyError
from bitfront.supernet.errors import BitfrontError

router = APIRouter(tags=["health"])
_METRICS = "text/plain; version=1.0.0; charset=utf-8"


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """Whether the service answers, also while every thread waits for the store; needs no token."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readyz")
def readyz(service: Served) -> Readiness:
    """Whether the store answers and the home can be written, else 503; needs no token."""
    checks = {"store": _store(service), "disk": _disk(service.home)}
    failed = {name: state for name, state in checks.items() if state != "ok"}
    if failed:
        raise NotReadyError(failed)
    return Readiness(ready=True, checks=checks)


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
