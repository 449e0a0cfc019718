"""The service with its pages over a home in which a whole experiment is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status

Find = Callable[[Store, str], None]


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
