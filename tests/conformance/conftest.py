"""An empty store in every database there is, to hold against what every store promises."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import NullPool, create_engine

from bitfront.experiments.store.records import Candidate, CandidateBatch, Generation, SupernetRecord, utc_now
from bitfront.experiments.store.sql import SqlStore

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def template(postgresql_url: str) -> str:
    """An empty PostgreSQL store, of which every test gets a copy."""
    _execute(postgresql_url, "CREATE DATABASE template_store")
    SqlStore(postgresql_url.format("template_store")).close()
    return postgresql_url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty store is."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "bitfront.sqlite")
        yield f"sqlite:///{tmp_path}/bitfront.sqlite"
        return
    server, name = request.getfixturevalue("template"), f"store_{next(_NUMBERS)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE template_store")
    yield server.format(name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def opener(store_url: str) -> Callable[[], SqlStore]:
    """Opens one and the same store, each time it is called."""
    return lambda: SqlStore(store_url)


@pytest.fixture
def store(opener: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    """The store, opened."""
    with opener() as opened:
        yield opened


@pytest.fixture
def experiment(store: SqlStore) -> str:
    """A QUEUED experiment of the store."""
    return store.create_experiment("digits", {"space": "digits"}, 0).id


@pytest.fixture
def supernet() -> SupernetRecord:
    """Of a supernet that is being trained, not yet in the store."""
    return SupernetRecord(
        id="ab12", space="digits", space_hash="s1", data="digits", data_hash="d1", training={"epochs": 3},
        path="supernets/ab12.safetensors", metrics={}, state="training",
        created_at=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    )  # fmt: skip


@pytest.fixture
def at(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Put the clock of the store forward, or back."""

    def put(offset: timedelta) -> None:
        monkeypatch.setattr(store, "_clock", lambda: utc_now() + offset)

    return put


@pytest.fixture
def add(store: SqlStore) -> Callable[..., list[Candidate]]:
    """Store candidates with these metrics as the first generation, with the places of its front; returns all."""

    def stored(
        experiment: str, predicted: dict[str, NDArray[np.float64]], front: Sequence[int] = ()
    ) -> list[Candidate]:
        numbers = np.arange(len(next(iter(predicted.values()))))
        genomes = np.stack([numbers // 256**i % 256 for i in range(3)], axis=1).astype(np.uint8)
        batch = CandidateBatch(genomes, predicted)
        store.add_generation(experiment, Generation(0, 1, 0.1), batch, genomes[list(front)], {})
        return list(store.candidates(experiment, limit=10_000).items)

    return stored


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
