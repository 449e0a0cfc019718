"""The service as a process: the server, and a worker beside it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import uvicorn

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.auth import check_address
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.swapping import in_use
from bitfront.experiments.termination import terminated_as_interrupted

WORKER = "bitfront.experiments.worker"
"""The package whose function ``beside(home, command)`` gives a context in which a worker works."""

SERVER: dict[str, Any] = {
    "log_config": None,  # one form for all that is said
    "access_log": False,  # the guard's log has no queries and no headers in it
    "server_header": False,
    "proxy_headers": False,  # who asks is whoever is connected
    "timeout_keep_alive": 30,
    "timeout_graceful_shutdown": 5,
    "limit_concurrency": 1000,
    "h11_max_incomplete_event_size": 64 * 1024,
}
"""What uvicorn is asked for wherever the service listens."""


def run_server(settings: Settings, store: Store, with_worker: bool) -> None:
    """Serve until a signal ends it; then the worker beside it is stopped too.

    Raises:
        UnsupportedError: it would be reached from beyond this machine, and there is no token.
        StorageError: the home is being restored from a backup.
    """
    check_address(store, settings)
    app = create_app(settings, store)
    # uvicorn shuts down in order and then raises the signal again, for which it finds the handler from before:
    # SIGTERM's own would end this process at once, and nobody would stop the worker.
    with terminated_as_interrupted(), in_use(settings.home), worker_beside(settings, with_worker):
        uvicorn.run(app, host=settings.host, port=settings.port, **SERVER)


@contextmanager
def worker_beside(settings: Settings, wanted: bool) -> Iterator[None]:
    """While a worker works on what is queued, if one is wanted and installed."""
    if not wanted or importlib.util.find_spec(WORKER) is None:
        yield
        return
    module: Any = importlib.import_module(WORKER)
    command = (sys.executable, "-m", "bitfront.experiments.cli", "worker", "--log-format", settings.log_format)
    beside: AbstractContextManager[object] = module.beside(settings.home, command)
    with beside:
        yield
