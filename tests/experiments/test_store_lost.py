"""A database that goes away and comes back: what is asked again, and what never is."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import NullPool, create_engine, event

from bitfront.experiments.store.engine import writing
from bitfront.experiments.store.errors import ConflictError, LostError
from bitfront.experiments.store.metric_blocks import forget_in_blocks
from bitfront.experiments.store.records import CandidateBatch, Generation
from bitfront.experiments.store.retry import repeatable, repeatable_if_undone
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError, StorageError

_NUMBERS = itertools.count()


class Counted:
    """Fails a number of times before it succeeds."""

    def __init__(self, failures: int, unknown: bool, patience: float = 30.0) -> None:
        self._patience, self.failures, self.unknown, self.calls = patience, failures, unknown, 0

    def _call(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise LostError("gone", self.unknown)
        return "done"

    @repeatable
    def read(self) -> str:
        return self._call()

    @repeatable_if_undone
    def write(self) -> str:
        return self._call()


class TestRetry:
    @pytest.mark.parametrize("unknown", [False, True])
    def test_what_may_be_repeated_is(self, unknown: bool) -> None:
        assert Counted(3, unknown).read() == "done"

    def test_a_write_is_repeated_only_where_nothing_was_stored(self) -> None:
        assert Counted(2, unknown=False).write() == "done"
        doubtful = Counted(2, unknown=True)
        with pytest.raises(LostError):
            doubtful.write()
        assert doubtful.calls == 1

    def test_patience_ends(self) -> None:
        never = Counted(10**9, unknown=False, patience=0.3)
        start = time.monotonic()
        with pytest.raises(LostError, match="gone"):
            never.read()
        assert time.monotonic() - start < 20
        assert 1 < never.calls < 6


@pytest.fixture
def url(postgresql_url: str) -> Iterator[str]:
    """An empty database."""
    name = f"lost_{next(_NUMBERS)}"
    admin = create_engine(postgresql_url.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield postgresql_url.format(name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with SqlStore(url) as opened:
        yield opened


def kill_connections(url: str) -> None:
    admin = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.postgres
class TestPostgresql:
    def test_idle_connections_that_broke(self, store: SqlStore, url: str) -> None:
        made = store.create_experiment("a", {}, 0)
        kill_connections(url)
        assert store.get(made.id) == made
        kill_connections(url)
        store.set_status(made.id, Status.CANCELLED)

    def test_broken_in_the_middle_of_a_transaction(
        self, store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = store.create_experiment("a", {}, 0).id
        broken: list[str] = []

        def once(connection: object, cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("UPDATE") and not broken:
                broken.append(statement)
                kill_connections(url)

        event.listen(store._engine, "before_cursor_execute", once)
        assert store.set_status(made, Status.CANCELLED, "x").reason == "x"
        assert len(broken) == 1

    @pytest.mark.parametrize("committed", [False, True])
    def test_broken_while_committing(
        self, store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch, committed: bool
    ) -> None:
        """What is done once comes back as unknown; what may be repeated is there exactly once."""
        genomes = np.arange(12, dtype=np.uint8).reshape(4, 3)
        batch = CandidateBatch(genomes, {"top1": np.zeros(4)})
        experiment = store.create_experiment("a", {}, 0).id
        commit = store._engine.dialect.do_commit
        left = [0]

        def break_off(connection: Any) -> None:
            if not left[0]:
                return commit(connection)
            left[0] -= 1
            if committed:
                commit(connection)
            connection.driver_connection.close()
            return commit(connection)

        monkeypatch.setattr(store._engine.dialect, "do_commit", break_off)
        left[0] = 1
        with pytest.raises(LostError, match="unknown"):
            store.create_experiment("b", {}, 0)
        assert len(store.list_experiments().items) == 1 + committed
        asked: tuple[Callable[[], object], ...] = (
            lambda: store.create_experiment("c", {}, 0, key="k"),
            lambda: store.add_generation(experiment, Generation(0, 4, 0.1), batch, genomes[:1], {}),
            lambda: store.claim(experiment),
            lambda: store.claim_next(),
        )
        for again in asked:
            left[0] = 1
            again()
            assert left[0] == 0
        assert len(store.list_experiments().items) == 2 + committed
        assert (store.count_candidates(experiment), len(store.generations(experiment))) == (4, 1)
        running = store.list_experiments(status=Status.RUNNING).items
        assert len(running) == 2

    @pytest.mark.parametrize("committed", [False, True])
    def test_what_was_forgotten_is_counted_however_often_it_is_asked(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch, committed: bool
    ) -> None:
        """In three parts; the connection breaks while the second is stored."""
        monkeypatch.setattr("bitfront.experiments.store.sql_operations._AT_ONCE", 10)
        genomes = np.arange(90, dtype=np.uint8).reshape(30, 3)
        made = store.create_experiment("a", {}, 0).id
        batch = CandidateBatch(genomes, {"top1": np.zeros(30)})
        store.add_generation(made, Generation(0, 30, 0.1), batch, genomes[:1], {})
        store.set_status(made, Status.CANCELLED)
        commit, stored = store._engine.dialect.do_commit, list[bool]()
        forget = "bitfront.experiments.store.sql_operations.forget_in_blocks"

        def broken(connection: Any) -> None:
            if len(stored) == 2 and not broke:
                broke.append(True)
                if committed:
                    commit(connection)
                connection.driver_connection.close()
            commit(connection)

        def counted(*arguments: Any) -> None:
            stored.append(True)
            forget_in_blocks(*arguments)

        broke = list[bool]()
        monkeypatch.setattr(store._engine.dialect, "do_commit", broken)
        monkeypatch.setattr(forget, counted)
        assert store.forget_candidates(made) == 29
        assert broke
        assert store.count_candidates(made) == 1

    @pytest.mark.slow
    def test_a_server_that_is_away_for_a_while(self, url: str, restartable: Path) -> None:
        """Readers and a writer that go on through it, with nothing lost and nothing twice."""
        server = f"postgresql+psycopg://bitfront@/postgres?host={restartable}"
        with SqlStore(server) as store:
            made = store.create_experiment("a", {}, 0).id
            failed: list[BaseException] = []

            def write() -> None:
                try:
                    for i in range(60):
                        genomes = np.full((2, 2), i, dtype=np.uint8)
                        genomes[1, 1] = 200
                        batch = CandidateBatch(genomes, {"top1": np.zeros(2)})
                        store.add_generation(made, Generation(i, 2 * i, 0.1), batch, genomes[:1], {"i": i})
                        store.get(made)
                        time.sleep(0.02)
                except BaseException as error:
                    failed.append(error)

            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.3)
            control(restartable, "stop", "-m", "immediate")
            with pytest.raises(StorageError, match="does not answer"):
                store.ping()
            time.sleep(2)
            control(restartable, "start", "-w", "-l", str(restartable / "log"))
            thread.join(120)
            assert failed == []
            assert [one.index for one in store.generations(made)] == list(range(60))
            assert store.count_candidates(made) == 120
            store.ping()


@pytest.fixture
def restartable(postgresql_url: str) -> Iterator[Path]:
    """The folder of a server of this test's own, as others still need theirs; crash-safe as in earnest."""
    shared = Path(postgresql_url.partition("host=")[2])
    folder = shared / "restartable"
    user = shared.owner() if os.geteuid() == 0 else None
    subprocess.run(["mkdir", str(folder)], user=user, check=True)
    control(folder, "initdb", "-o", "--auth=trust --username=bitfront --no-sync --encoding=UTF8 --no-locale")
    settings = f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n"
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write(settings)
    control(folder, "start", "-w", "-l", str(folder / "log"))
    yield folder
    control(folder, "stop", "-m", "immediate")


def control(folder: Path, action: str, *options: str) -> None:
    pg_ctl = shutil.which("pg_ctl") or str(sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[-1])
    user = folder.owner() if os.geteuid() == 0 else None
    command = [pg_ctl, action, "-s", "-D", str(folder / "data"), *options]
    subprocess.run(command, user=user, cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("state", "error"), [("53100", StorageError), ("40001", LostError), ("23505", ConflictError)]
)
def test_errors_while_rows_are_copied_are_told_as_others(url: str, state: str, error: type[BitfrontError]) -> None:
    with SqlStore(url, patience=0.0) as store:
        made = store.create_experiment("a", {}, 0).id
        with store._engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END$$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER refuses BEFORE INSERT ON candidates EXECUTE FUNCTION refuse()"
            )
        genomes = np.zeros((1, 3), dtype=np.uint8)
        with pytest.raises(error):
            store.add_generation(made, Generation(0, 1, 0.5), CandidateBatch(genomes, {}), genomes, {})
        assert store.generations(made) == ()


@pytest.mark.postgres
def test_who_did_nothing_for_long_within_a_transaction_is_asked_again(url: str) -> None:
    more = "&" if "?" in url else "?"
    with SqlStore(f"{url}{more}options=-c%20idle_in_transaction_session_timeout%3D200ms") as store:

        def stall() -> None:
            with writing(store._engine) as connection:
                connection.exec_driver_sql("SELECT 1")
                time.sleep(1.0)
                connection.exec_driver_sql("SELECT 1")

        with pytest.raises(LostError):
            stall()
