"""Stores that older versions made, in every database: nothing of them is lost."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from bitfront.experiments.store import migrate
from bitfront.experiments.store.engine import reading
from bitfront.experiments.store.errors import ConflictError, StoreVersionError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import ExportRecord
from bitfront.experiments.store.schema import METADATA
from bitfront.experiments.store.sql import SqlStore

_NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where no store is yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/bitfront.sqlite"
        return
    server, name = request.getfixturevalue("postgresql_url"), f"old_{next(_NUMBERS)}"
    admin = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.format(name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def bring(url: str, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the store, or migrate it, as the version with this revision did."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", revision)
        SqlStore(url).close()


def fill(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


GENOME = {"sqlite": "x'0102'", "postgresql": r"'\x0102'"}
TRUE = {"sqlite": "1", "postgresql": "true"}
FIRST = (
    "INSERT INTO experiments (number, id, name, spec, seed, status, stage, reason, created_at) "
    "VALUES (1, 'old-1', 'old', '{}', 0, 'COMPLETED', '', '', 0)",
    "INSERT INTO candidates (experiment_number, number, generation_index, genome, top1, on_front) "
    "VALUES (1, 0, 0, GENOME, 0.5, TRUE)",
    "INSERT INTO front_members (experiment_number, candidate_number, top1_test, dominated) "
    "VALUES (1, 0, 0.75, TRUE)",
    "INSERT INTO exports (experiment_number, candidate_number, format, path, sha256, top1_test, created_at) "
    "VALUES (1, 0, 'onnx', 'a.onnx', '00ff', 0.25, 0)",
    "INSERT INTO generations VALUES (1, 0, 1, 0.5, 0)",
    "INSERT INTO supernets VALUES ('s', 'digits', 'h', 'digits', 'h', '{}', 'p', '{}', 'ready', 5)",
    *(
        f"INSERT INTO predictors VALUES ('{name}', 's', 'fp32', 'p', '{{}}', {time})"
        for name, time in (("p1", 9), ("p2", 3), ("p3", 9))
    ),
    *(
        f"INSERT INTO device_tables VALUES ('{name}', 'host', 'h', 'p', '{{}}', {time})"
        for name, time in (("t1", 9), ("t2", 3))
    ),
)
THIRD = (
    "UPDATE candidates SET by_device = '{\"latency_ms@a\": 1.5}', error = 'none'",
    "UPDATE front_members SET by_device = '{\"latency_ms@a\": 2.5}'",
    'UPDATE experiments SET table_ids = \'{"a": "t1"}\'',
    "INSERT INTO exports VALUES (1, 0, 'onnx', 'b.onnx', '11', NULL, 0, 'a')",
)


def in_words_of(url: str, statements: tuple[str, ...]) -> list[str]:
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    return [one.replace("GENOME", GENOME[kind]).replace("TRUE", TRUE[kind]) for one in statements]


@pytest.mark.parametrize("steps", [("0001", "0002", "0003"), ("0001", "0003"), ("0001",)])
def test_what_older_versions_stored_is_still_there(
    url: str, steps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in steps:
        bring(url, revision, monkeypatch)
        if revision == "0001":
            fill(url, *in_words_of(url, FIRST))
        if revision == "0003":
            # PostgreSQL has the column in another place than a table that was made anew.
            columns = "(experiment_number, candidate_number, format, path, sha256, top1_test, created_at, device)"
            fill(url, *(one.replace("INTO exports", f"INTO exports {columns}") for one in THIRD))
    by_device = {"latency_ms@a": 1.5} if "0003" in steps else {}
    with SqlStore(url) as store:
        (one,) = store.candidates("old-1").items
        assert (one.genome, one.predicted, one.on_front) == (b"\x01\x02", {"top1": 0.5, **by_device}, True)
        (member,) = store.front("old-1")
        assert (member.candidate, member.top1_test, member.dominated) == (one, 0.75, True)
        assert bool(member.by_device) is bool(by_device)
        assert store.exports("old-1")[0] == ExportRecord(0, "onnx", "a.onnx", "00ff", 0.25)
        assert [record.device for record in store.exports("old-1")] == ["", "a"][: 1 + bool(by_device)]
        assert [record.id for record in store.predictors()] == ["p2", "p1", "p3"]
        assert [record.id for record in store.tables()] == ["t2", "t1"]
        assert len(store.generations("old-1")) == 1
        made = store.get("old-1")
        assert (made.key, made.progress, made.forgotten) == (None, None, 0)
        with pytest.raises(ConflictError):
            store.put_export("old-1", ExportRecord(7, "onnx", "a.onnx", "00ff", None))
        store.delete_experiment("old-1")
        counts = store.counts()
        assert (counts.candidates, counts.front_members, counts.exports, counts.predictors) == (0, 0, 0, 3)


def test_they_lead_to_the_schema(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with SqlStore(url) as store, reading(store._engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_newer_store_is_refused(url: str) -> None:
    SqlStore(url).close()
    fill(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreVersionError, match=r"'9999'.*upgrade bitfront"):
        SqlStore(url)


def test_sqlite_keeps_candidates_in_the_order_of_their_key(tmp_path: Path) -> None:
    with SqlStore(f"sqlite:///{tmp_path}/bitfront.sqlite") as store, reading(store._engine) as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'candidates'").scalar_one()
    assert str(made).endswith("WITHOUT ROWID")


def test_nobody_changes_a_store_under_an_older_version_that_works(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(url, "0003", monkeypatch)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = Owner.of(other.pid)
        fill(
            url,
            FIRST[0].replace("COMPLETED", "RUNNING"),
            f"UPDATE experiments SET host = '{owner.host}', pid = {owner.pid}",
            f"UPDATE experiments SET process_started = '{owner.started}'",
        )
        with pytest.raises(
            StoreVersionError, match=r"an older bitfront works on experiment 'old-1' \(process \d+"
        ):
            SqlStore(url)
        other.communicate(b"\n")
    with SqlStore(url) as store:
        assert store.mark_interrupted() == ("old-1",)
