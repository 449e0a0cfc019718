"""Whoever waits - for the store, for a job, for news - leaves threads to those who can be answered at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service import exports
from bitfront.experiments.service.jobs import Job, until_done
from bitfront.experiments.service.routes import specs
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.service.specs import read_sent
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment

MANY = 60
"""More than there are threads for requests."""
PLACE = "/api/v1/experiments"
Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]


@pytest.fixture
def away() -> Iterator[threading.Event]:
    """Set when what blocks may go on; it does at the end of the test in any case."""
    event = threading.Event()
    yield event
    event.set()


def _beside(app: Any, many: Ask, one: Ask, release: threading.Event) -> float:
    """Seconds until ``one`` is done beside many that wait, on one event loop as in a server."""

    async def ask() -> float:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8317") as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(MANY):
                    tasks.start_soon(many, client)
                await anyio.sleep(1.0)
                begun = anyio.current_time()
                with anyio.move_on_after(20):
                    await one(client)
                seconds = anyio.current_time() - begun
                release.set()
            return seconds

    return anyio.run(ask)


async def _healthy(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}


async def _listed(client: httpx.AsyncClient) -> None:
    assert (await client.get(PLACE)).status_code == 200


def test_it_answers_while_every_thread_waits_for_the_store(
    api: TestClient, store: Store, away: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = store.list_experiments

    def wait(*given: Any) -> Any:
        away.wait(30)
        return listed(*given)

    monkeypatch.setattr(store, "list_experiments", wait)
    assert _beside(api.app, _listed, _healthy, away) < 5


def test_who_waits_for_an_export_takes_no_thread(
    api: TestClient, done: Experiment, away: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(away)
    monkeypatch.setattr(exports, "start_export", lambda *_: job)
    states: list[int] = []

    async def export(client: httpx.AsyncClient) -> None:
        answer = await client.post(f"{PLACE}/{done.id}/exports?wait=30", json={"candidate": 0})
        states.append(answer.status_code)

    assert _beside(api.app, export, _listed, away) < 5
    assert states == [202] * MANY


def test_streams_that_wait_leave_threads_to_others(
    serve: Callable[[Settings], TestClient],
    settings: Settings,
    store: Store,
    done: Experiment,
    away: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generations = store.generations

    def wait(experiment_id: str) -> Any:
        away.wait(30)
        return generations(experiment_id)

    monkeypatch.setattr(store, "generations", wait)

    async def watch(client: httpx.AsyncClient) -> None:
        assert (await client.get(f"{PLACE}/{done.id}/events")).status_code == 200

    assert (
        _beside(serve(replace(settings, most_streams=MANY, most_streams_each=MANY)).app, watch, _listed, away) < 5
    )


def test_specs_that_take_long_to_read_leave_threads_to_others(
    api: TestClient, away: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = [0], [0]

    def wait(*given: Any) -> Any:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        away.wait(30)
        at_once[0] -= 1
        return read_sent(*given)

    monkeypatch.setattr(specs, "read_sent", wait)

    async def check(client: httpx.AsyncClient) -> None:
        spec = {"space": "digits", "data": "digits", "device": "bitfusion"}
        assert (await client.post("/api/v1/specs/check", json=spec)).status_code == 200

    assert _beside(api.app, check, _listed, away) < 5
    assert most[0] <= 2


def test_a_wait_for_a_job_ends_with_it_or_in_time() -> None:
    over = Job(threading.Event())
    over.done.set()

    async def timed(job: Job, seconds: float) -> float:
        begun = anyio.current_time()
        await until_done(job, seconds)
        return anyio.current_time() - begun

    assert anyio.run(timed, over, 30.0) < 1
    assert 0.2 <= anyio.run(timed, Job(threading.Event()), 0.25) < 5
    assert anyio.run(timed, Job(threading.Event()), 0.0) < 1
