"""What every store promises those who create and work: a queue, keys, progress, whatever the clock says."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from bitfront.experiments.store.base import LONGEST_KEY, SILENCE
from bitfront.experiments.store.engine import writing
from bitfront.experiments.store.errors import ConflictError, StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import PredictorRecord, Progress, SupernetRecord, TableRecord, utc_now
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status

At = Callable[[timedelta], None]
ELSEWHERE = Owner("elsewhere", 1, "")


class TestQueue:
    def test_the_first_created_comes_first(self, store: SqlStore, at: At) -> None:
        ids = []
        for hours in (0, -2, 5):  # the order is that of creation, whatever the clock says
            at(timedelta(hours=hours))
            ids.append(store.create_experiment("a", {}, 0).id)
        store.set_status(ids[0], Status.CANCELLED)
        first, second = store.claim_next(), store.claim_next(ELSEWHERE)
        assert first is not None
        assert second is not None
        assert (first.id, first.status, first.owner) == (ids[1], Status.RUNNING, Owner.current())
        assert first == store.get(ids[1])
        assert (second.id, second.owner) == (ids[2], ELSEWHERE)
        assert store.claim_next() is None
        store.set_status(ids[0], Status.QUEUED)
        again = store.claim_next()
        assert again is not None
        assert again.id == ids[0]

    def test_processes_that_race_for_200_get_each_once(self, store: SqlStore, store_url: str) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(200)]
        code = """
            import json, sys, threading
            from bitfront.experiments.store.owner import Owner
            from bitfront.experiments.store.sql import SqlStore
            url, name = sys.argv[1:]
            mine = [[], []]
            with SqlStore(url) as store:
                def work(thread):
                    while (one := store.claim_next(Owner(name, thread, ""))) is not None:
                        mine[thread].append(one.id)
                threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
                print("ready", flush=True)
                sys.stdin.readline()
                for thread in threads: thread.start()
                for thread in threads: thread.join()
            print(json.dumps(mine))
        """
        children = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code), store_url, f"host{k}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for k in range(3)
        ]  # fmt: skip
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        answers = [json.loads(child.communicate("\n")[0]) for child in children]
        claimed = [one for answer in answers for mine in answer for one in mine]
        assert sorted(claimed) == sorted(ids)
        order = {one: i for i, one in enumerate(ids)}
        for mine in itertools.chain.from_iterable(answers):
            assert sorted(mine, key=order.__getitem__) == mine
        for k, answer in enumerate(answers):
            for thread, mine in enumerate(answer):
                assert {store.get(one).owner for one in mine} <= {Owner(f"host{k}", thread, "")}

    def test_one_that_another_is_claiming_is_passed_over(self, store: SqlStore) -> None:
        if store._engine.dialect.name != "postgresql":
            pytest.skip("SQLite has one writer at a time")
        ids = [store.create_experiment("a", {}, 0).id for _ in range(2)]
        with writing(store._engine) as other:
            other.execute(text("SELECT 1 FROM experiments WHERE id = :id FOR UPDATE"), {"id": ids[0]})
            claimed = store.claim_next()
        assert claimed is not None
        assert claimed.id == ids[1]


class TestKeys:
    def test_the_same_key_and_spec_is_the_same_experiment(self, store: SqlStore) -> None:
        spec = {"space": "digits", "limits": [1, 2.5]}
        made = store.create_experiment("a", spec, 7, key="order 1")
        assert made.key == "order 1"
        store.claim(made.id)
        again = store.create_experiment("a", {"space": "digits", "limits": (1, 2.5)}, 7, key="order 1")
        assert again == store.get(made.id)
        assert store.create_experiment("a", spec, 7, key="order 2").id != made.id
        assert store.create_experiment("a", spec, 7).key is None
        assert len(store.list_experiments().items) == 3

    @pytest.mark.parametrize(("name", "spec", "seed"), [("b", {}, 0), ("a", {"x": 1}, 0), ("a", {}, 1)])
    def test_another_experiment_is_refused(self, store: SqlStore, name: str, spec: object, seed: int) -> None:
        made = store.create_experiment("a", {}, 0, key="k1")
        with pytest.raises(ConflictError, match=rf"'k1'.*{made.id}.*new key"):
            store.create_experiment(name, spec, seed, key="k1")  # type: ignore[arg-type]
        assert [one.id for one in store.list_experiments().items] == [made.id]

    @pytest.mark.parametrize("key", ["", "x" * (LONGEST_KEY + 1)])
    def test_keys_have_a_length(self, store: SqlStore, key: str) -> None:
        with pytest.raises(ValueError, match="key"):
            store.create_experiment("a", {}, 0, key=key)

    def test_the_database_holds_a_key_once(self, store: SqlStore) -> None:
        store.create_experiment("a", {}, 0, key="k")
        with pytest.raises(ConflictError), writing(store._engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO experiments (id, name, spec, seed, status, stage, reason, created_at, key) "
                    "VALUES ('b-1', 'b', '{}', 0, 'QUEUED', '', '', 0, 'k')"
                )
            )

    def test_many_that_ask_at_once_get_one(self, store: SqlStore) -> None:
        barrier = threading.Barrier(6)
        got: list[str] = []

        def ask() -> None:
            barrier.wait()
            got.append(store.create_experiment("a", {"x": 1}, 0, key="k").id)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 6
        assert len(set(got)) == 1


class TestProgress:
    def test_told_with_the_heartbeat_and_cleared_with_the_stage(self, store: SqlStore, experiment: str) -> None:
        assert store.claim(experiment).progress is None
        store.heartbeat(experiment, progress=Progress("generation", 3, 10**12))
        store.heartbeat(experiment)
        assert store.get(experiment).progress == Progress("generation", 3, 10**12)
        store.heartbeat(experiment, progress=Progress("", 0, 0))
        assert store.list_experiments().items[0].progress == Progress("", 0, 0)
        store.set_stage(experiment, "7 export")
        assert store.get(experiment).progress is None

    def test_cleared_by_the_end(self, store: SqlStore, experiment: str) -> None:
        store.claim(experiment)
        store.heartbeat(experiment, progress=Progress("x", 1, 2))
        assert store.set_status(experiment, Status.FAILED).progress is None

    def test_only_from_the_owner(self, store: SqlStore, experiment: str) -> None:
        store.claim(experiment)
        with pytest.raises(StatusError, match="must stop"):
            store.heartbeat(experiment, ELSEWHERE, Progress("x", 1, 2))
        assert store.get(experiment).progress is None

    @pytest.mark.parametrize(("done", "total"), [(-1, 2), (0, -1), (0, 2**63)])
    def test_numbers_are_checked(self, done: int, total: int) -> None:
        with pytest.raises(ValueError, match="progress of 'x'"):
            Progress("x", done, total)


class TestClockThatMovesBack:
    def test_a_heartbeat_in_the_future_is_fresh_for_a_bounded_time(
        self, store: SqlStore, experiment: str, at: At
    ) -> None:
        at(timedelta(days=3))
        store.claim(experiment, ELSEWHERE)
        at(timedelta(0))
        assert store.mark_interrupted() == ()
        at(SILENCE - timedelta(seconds=30))
        assert store.mark_interrupted() == ()
        at(SILENCE + timedelta(seconds=30))
        assert store.mark_interrupted() == (experiment,)

    def test_the_living_are_not_given_up(self, store: SqlStore, experiment: str, at: At) -> None:
        at(timedelta(days=3))
        store.claim(experiment, ELSEWHERE)
        for minutes in range(0, 60, 10):
            at(timedelta(minutes=minutes))
            assert store.mark_interrupted() == ()
            assert store.heartbeat(experiment, ELSEWHERE) is Status.RUNNING

    def test_listings_keep_the_order_of_creation(self, store: SqlStore, supernet: SupernetRecord) -> None:
        store.put_supernet(supernet)
        now = utc_now()
        for i, name in enumerate(("c", "a", "b")):
            then = now - timedelta(days=i)
            store.put_predictor(PredictorRecord(name, supernet.id, "fp32", "p", {}, then))
            store.put_table(TableRecord(name, "host", "x", "t", {}, then))
        store.put_predictor(PredictorRecord("c", supernet.id, "fp32", "q", {}, now))
        assert [one.id for one in store.predictors(supernet.id)] == ["c", "a", "b"]
        assert [one.id for one in store.tables()] == ["c", "a", "b"]

    def test_nothing_ends_before_it_began(self, store: SqlStore, experiment: str, at: At) -> None:
        store.claim(experiment)
        at(-timedelta(days=1))
        store.heartbeat(experiment)
        ended = store.set_status(experiment, Status.COMPLETED)
        assert ended.finished_at == ended.started_at
