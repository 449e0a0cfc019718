"""The service as a process: the server, and a worker beside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.auth import check_address
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.swapping import in_use
from bitfront.experiments.termination import terminated_as_interrupted

WORKER = "bitfront.experiments.worker"
"""The package whose function ``beside(home)`` gives a context in which a worker works."""

_GRACE_SECONDS = 5


def run_server(settings: Settings, store: Store, with_worker: bool) -> None:
    """Serve until a signal ends it; then the worker beside it is stopped too.

    Raises:
        UnsupportedError: it would listen beyond this machine, and there is no token.
        StorageError: the home is being restored from a backup.
    """
    check_address(store, settings.host)
    app = create_app(settings, store)
    # uvicorn shuts down in order and then raises the signal again, for which it finds the handler from before:
    # SIGTERM's own would end this process at once, and nobody would stop the worker.
    with terminated_as_interrupted(), in_use(settings.home), worker_beside(settings.home, with_worker):
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,  # the guard's log has no queries and no headers in it
            server_header=False,
            proxy_headers=False,  # who asks is whoever is connected
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=64 * 1024,
        )


@contextmanager
def worker_beside(home: Path, wanted: bool) -> Iterator[None]:
    """While a worker works on what is queued, if one is wanted and installed."""
    if not wanted or importlib.util.find_spec(WORKER) is None:
        yield
        return
    module: Any = importlib.import_module(WORKER)
    beside: AbstractContextManager[object] = module.beside(home)
    with beside:
        yield
