"""What watches the service asks: it answers, it can work, and how much it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import Result

from bitfront.experiments.service import serving
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.supernet.errors import StorageError

Refused = Callable[[httpx.Response, int], dict[str, Any]]
Call = Callable[..., Result]


def test_it_is_healthy_and_ready(api: TestClient) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    assert api.get("/readyz").json() == {"ready": True, "checks": {"store": "ok", "disk": "ok"}}


def test_it_is_not_ready_without_its_store(
    api: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def away(*_: object) -> None:
        raise StorageError("postgresql://user:secret@host does not answer: start it")

    monkeypatch.setattr(store, "ping", away)
    monkeypatch.setattr(store, "get", away)
    answer = api.get("/readyz")
    problems = refused(answer, 503)["problems"]
    assert [(one["where"], one["rule"]) for one in problems] == [("checks.store", "does not answer")]
    assert answer.headers["Retry-After"]
    failed = api.get("/api/v1/experiments/x")
    error = refused(failed, 503)
    assert "secret" not in failed.text
    assert error["id"]
    assert failed.headers["Retry-After"]
    assert api.get("/healthz").status_code == 200


def test_metrics_count_what_is_stored(
    api: TestClient, store: Store, done: Experiment, spec: dict[str, Any]
) -> None:
    running = store.create_experiment("one", spec, 0)
    store.claim(running.id)
    store.create_experiment("two", spec, 0)
    api.get("/api/v1/experiments")
    text = api.get("/metrics").text
    assert 'bitfront_experiments{status="COMPLETED"} 1.0' in text
    assert "bitfront_queue 1.0" in text
    assert "bitfront_running 1.0" in text
    assert "bitfront_candidates 6.0" in text
    assert 'bitfront_request_seconds_count{method="GET",route="' in text
    assert done.id not in text  # only those that run are named


def test_tokens_are_made_listed_and_revoked(call: Call, store: Store) -> None:
    made = call("token", "add", "ci", "--scope", "write", "--days", "2")
    shown = made.stdout.strip()
    assert shown.startswith("bft_")
    listed = call("token", "ls", "--json").stdout
    assert '"ci"' in listed
    assert '"valid"' in listed
    assert shown not in listed
    assert call("token", "revoke", "ci").exit_code == 0
    assert "revoked" in call("token", "ls").stdout
    assert call("token", "add", "ci").exit_code == 1
    assert call("token", "add", "a b").exit_code == 2
    assert call("token", "add", "x", "--scope", "root").exit_code == 1
    assert call("token", "revoke", "nobody").exit_code == 1
    assert [token.name for token in store.tokens()] == ["ci"]


@pytest.mark.usefixtures("loggers_as_before")
def test_serve_is_told_what_it_needs(
    call: Call, home: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    told: list[tuple[Settings, bool]] = []
    patience: list[float] = []

    def serves(settings: Settings, store: Any, with_worker: bool) -> None:
        told.append((settings, with_worker))
        patience.append(store._patience)

    monkeypatch.setattr(serving, "run_server", serves)
    assert (
        call("serve", "--port", 99, "--name", "a.example", "--data-folder", tmp_path, "--no-worker").exit_code == 0
    )
    settings, with_worker = told[0]
    assert (settings.home, settings.host, settings.port) == (home, "127.0.0.1", 99)
    assert (settings.names, settings.data_folders, with_worker) == (("a.example",), (tmp_path,), False)
    assert patience[0] <= 2  # a database that is away is told at once, and not waited for by every thread


@pytest.mark.usefixtures("loggers_as_before")
def test_serve_refuses_to_be_open_to_all(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: pytest.fail("it would have listened"))
    result = call("serve", "--host", "0.0.0.0", "--no-worker")
    assert result.exit_code == 1
    assert "token add" in result.stderr
