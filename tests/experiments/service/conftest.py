"""A service over a small made-up store, asked without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.service.tokens import new_token
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status

Find = Callable[[Store, str], None]
Refused = Callable[[httpx.Response, int], dict[str, Any]]
BASE = "http://127.0.0.1:8317"


@pytest.fixture
def settings(home: Path) -> Settings:
    """Of a service that listens to this machine, whose streams are short and whose limits are out of the way."""
    return Settings(
        home,
        reads_per_second=1e6,
        writes_per_second=1e6,
        stream_seconds=0.05,
        poll_seconds=0.01,
        trust_everyone=True,
    )


@pytest.fixture
def serve(store: Store) -> Iterator[Callable[[Settings], TestClient]]:
    """Make a client of a service with other settings."""
    clients: list[TestClient] = []

    def make(settings: Settings) -> TestClient:
        clients.append(TestClient(create_app(settings, store), base_url=BASE))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def api(serve: Callable[[Settings], TestClient], settings: Settings) -> TestClient:
    """The service without tokens, for whoever is on this machine."""
    return serve(settings)


@pytest.fixture
def done(store: Store, spec: dict[str, Any], find: Find) -> Experiment:
    """A COMPLETED experiment with six candidates in two generations, three of them measured."""
    one = store.create_experiment("digits", spec, 0)
    store.claim(one.id)
    find(store, one.id)
    return store.set_status(one.id, Status.COMPLETED)


@pytest.fixture
def token(store: Store) -> Callable[[str], dict[str, str]]:
    """The headers of a new token with a scope."""

    def make(scope: str) -> dict[str, str]:
        shown, _ = new_token(store, f"a-{scope}-token", [scope])
        return {"Authorization": f"Bearer {shown}"}

    return make


@pytest.fixture
def refused() -> Refused:
    """What an answer says is wrong; it must do so in the one form, with the status."""
    return _error


def _error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"type", "message", "rule", "fix", "where", "problems", "id"}
    assert error["type"].endswith("Error")
    assert error["message"]
    assert error["rule"]
    assert error["fix"]
    assert "Traceback" not in answer.text
    return error
