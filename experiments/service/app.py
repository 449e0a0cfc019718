"""The service as an ASGI application."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from bitfront.experiments.service import errors
from bitfront.experiments.service.context import make_service
from bitfront.experiments.service.guard import Guard
from bitfront.experiments.service.openapi import DescribedApp
from bitfront.experiments.service.routes import (
    events,
    experiments,
    exports,
    health,
    machine,
    results,
    sessions,
    specs,
)
from bitfront.experiments.service.routes.common import ERRORS, PREFIX
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.service.uploads import sweep
from bitfront.experiments.store.base import Store

_WEB = "bitfront.experiments.web"
_ABOUT = "Launch, watch, query and export bitfront's experiments. See docs/rest.md and docs/security.md."


def create_app(settings: Settings, store: Store) -> FastAPI:
    """The service over a store, which stays the caller's to close; with the web pages where they are installed."""
    service = make_service(settings, store)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        sweep(settings.home)
        yield
        service.jobs.close()

    app = DescribedApp(
        title="bitfront",
        version=version("bitfront"),
        description=_ABOUT,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=living,
        responses=ERRORS,
        redirect_slashes=False,
    )
    app.state.service = service
    errors.install(app)
    _add_routes(app)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    return app


def _add_routes(app: FastAPI) -> None:
    for module in (experiments, events, results, exports, specs, machine, sessions):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.router)
    if web := _web():
        app.include_router(web.routes())
        app.state.error_page = web.error_page


def _web() -> Any:
    """The package of the pages, which gives ``routes()`` and ``error_page(request, answer)``; None without it."""
    return None if importlib.util.find_spec(_WEB) is None else importlib.import_module(_WEB)
