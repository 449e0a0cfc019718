"""The service with its pages over a home in which a whole experiment is, and a browser to look at them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
import uvicorn
from fastapi.testclient import TestClient

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.serving import SERVER
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Find = Callable[[Store, str], None]
Until = Callable[[Callable[[], Any], float], Any]
Process = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]


@pytest.fixture
def client(home: Path, store: Store) -> Iterator[TestClient]:
    """Somebody on this machine, without a token, as none was made."""
    settings = Settings(home=home, trust_everyone=True, writes_per_second=1000.0)
    with TestClient(create_app(settings, store), base_url="http://localhost") as opened:
        yield opened


@pytest.fixture
def found(store: Store, spec: dict[str, Any], find: Find) -> str:
    """The id of a finished experiment."""
    experiment = store.create_experiment("digits-host", spec, 0)
    store.claim(experiment.id)
    find(store, experiment.id)
    store.set_status(experiment.id, Status.COMPLETED)
    return experiment.id


@pytest.fixture
def pages(found: str) -> list[str]:
    """An address of every page."""
    return [
        "/experiments",
        "/experiments/new",
        f"/experiments/new?like={found}",
        f"/experiments/{found}",
        f"/experiments/{found}/genes",
        f"/experiments/{found}/candidates/0",
        f"/experiments/{found}/candidates/5",
        "/compare",
        f"/compare?experiment={found}&x=latency_ms&y=top1",
        "/devices",
        "/devices/bitfusion",
        "/devices/host-onnxruntime",
        "/predictors",
        "/predictors/moved",
        "/predictors/real",
        "/sign-in",
    ]


@pytest.fixture(scope="session")
def kept() -> dict[str, str]:
    """What `texts` found, which costs seconds and does not change."""
    return {}


@pytest.fixture
def texts(kept: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """Address to text of every page."""
    if not kept:
        client, paths = request.getfixturevalue("client"), request.getfixturevalue("pages")
        kept.update({path: client.get(path).text for path in paths})
    return kept


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, if it is there; pages that are opened in it know nothing of one another."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong unseen: no error of a script, and nothing that the policy refuses."""
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(60_000)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: _check_own(request.url, errors))
    yield opened
    opened.close()
    assert errors == []


def _check_own(url: str, errors: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        errors.append(f"asked elsewhere: {url}")


@pytest.fixture
def base(home: Path, store: Store, until: Until) -> Iterator[str]:
    """The address of a service over the home, in a thread: a process takes seconds to load what is loaded here."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(Settings(home, port=port), store), **SERVER))
        serving = Thread(target=server.run, kwargs={"sockets": [place]})
        serving.start()
        try:
            until(lambda: server.started, 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            serving.join()


@pytest.fixture
def served(home: Path, until: Until, process: Process) -> Iterator[str]:
    """The address of ``bitfront serve``, without a worker, over an empty home."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with process("-m", "bitfront.experiments.cli", "serve", "--no-worker", "--port", str(port)):
        address = f"http://127.0.0.1:{port}"
        until(lambda: _answers(f"{address}/healthz"), 120)
        yield address


@pytest.fixture
def process() -> Process:
    """Another Python with these arguments, which is ended afterwards."""

    @contextmanager
    def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(
            [sys.executable, *arguments], env=dict(os.environ), stderr=subprocess.DEVNULL
        ) as started:
            try:
                yield started
            finally:
                started.send_signal(signal.SIGINT)

    return running


@pytest.fixture
def until() -> Until:
    """Ask again and again, for so many seconds at most, until something is true; that is returned."""

    def wait(holds: Callable[[], Any], seconds: float) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := holds():
                return found
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s")

    return wait


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):
            return True
    except OSError:
        return False
