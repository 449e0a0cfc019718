"""What every store promises the service: a queue, keys, filters, plots, comparisons, tokens, retention."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import ColumnElement, text

from bitfront.experiments.store import sql_operations
from bitfront.experiments.store.base import LONGEST_KEY, SILENCE
from bitfront.experiments.store.engine import writing
from bitfront.experiments.store.errors import ConflictError, CursorError, StatusError
from bitfront.experiments.store.filters import COMPARE, Filter, InvalidFilterError, Op
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import (
    Candidate,
    CandidateBatch,
    ExportRecord,
    Generation,
    Measurement,
    PredictorRecord,
    Progress,
    SupernetRecord,
    TableRecord,
    utc_now,
)
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.search.constraints import InvalidConstraintError
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.genes import Genomes

ELSEWHERE = Owner("elsewhere", 1, "")
SHA = "0123456789abcdef" * 4


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    with SqlStore(store_url) as opened:
        yield opened


@pytest.fixture
def experiment(store: SqlStore) -> str:
    return store.create_experiment("digits", {"space": "digits"}, 0).id


def genomes_of(n: int, first: int = 0) -> Genomes:
    numbers = np.arange(first, first + n)
    return np.stack([numbers // 256**i % 256 for i in range(3)], axis=1).astype(np.uint8)


def add(
    store: SqlStore, experiment: str, predicted: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
    front: Sequence[int] = (), index: int = 0, first: int = 0,
) -> list[Candidate]:  # fmt: skip
    """Store candidates as one generation; returns all there are."""
    genomes = genomes_of(len(next(iter(predicted.values()))), first)
    store.add_generation(
        experiment, Generation(index, 1, 0.1), CandidateBatch(genomes, predicted), genomes[list(front)], {}
    )
    return list(store.candidates(experiment, limit=10_000).items)


def at(store: SqlStore, monkeypatch: pytest.MonkeyPatch, offset: timedelta) -> None:
    monkeypatch.setattr(store, "_clock", lambda: utc_now() + offset)


class TestQueue:
    def test_the_first_created_comes_first(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = []
        for hours in (0, -2, 5):  # the order is that of creation, whatever the clock says
            at(store, monkeypatch, timedelta(hours=hours))
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
        self, store: SqlStore, experiment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at(store, monkeypatch, timedelta(days=3))
        store.claim(experiment, ELSEWHERE)
        at(store, monkeypatch, timedelta(0))
        assert store.mark_interrupted() == ()
        at(store, monkeypatch, SILENCE - timedelta(seconds=30))
        assert store.mark_interrupted() == ()
        at(store, monkeypatch, SILENCE + timedelta(seconds=30))
        assert store.mark_interrupted() == (experiment,)

    def test_the_living_are_not_given_up(
        self, store: SqlStore, experiment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at(store, monkeypatch, timedelta(days=3))
        store.claim(experiment, ELSEWHERE)
        for minutes in range(0, 60, 10):
            at(store, monkeypatch, timedelta(minutes=minutes))
            assert store.mark_interrupted() == ()
            assert store.heartbeat(experiment, ELSEWHERE) is Status.RUNNING

    def test_listings_keep_the_order_of_creation(self, store: SqlStore) -> None:
        store.put_supernet(supernet("s"))
        now = utc_now()
        for i, name in enumerate(("c", "a", "b")):
            then = now - timedelta(days=i)
            store.put_predictor(PredictorRecord(name, "s", "fp32", "p", {}, then))
            store.put_table(TableRecord(name, "host", "x", "t", {}, then))
        store.put_predictor(PredictorRecord("c", "s", "fp32", "q", {}, now))
        assert [one.id for one in store.predictors("s")] == ["c", "a", "b"]
        assert [one.id for one in store.tables()] == ["c", "a", "b"]

    def test_nothing_ends_before_it_began(
        self, store: SqlStore, experiment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.claim(experiment)
        at(store, monkeypatch, -timedelta(days=1))
        store.heartbeat(experiment)
        ended = store.set_status(experiment, Status.COMPLETED)
        assert ended.finished_at == ended.started_at


def supernet(name: str) -> SupernetRecord:
    return SupernetRecord(name, "digits", "s", "digits", "d", {}, "p", {}, "ready")


OPS: tuple[Op, ...] = ("<=", ">=", "<", ">", "==")


class TestFilters:
    @pytest.fixture
    def rows(self, store: SqlStore, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        """60 candidates with ties; some without energy, one without any metric."""
        add(store, experiment, {
            "top1": rng.integers(0, 8, 50) / 8, "latency_ms": rng.integers(0, 10, 50) / 4,
            "energy_mj@pixel-6": rng.integers(0, 6, 50) / 2, "energy_mj@cpu.2": rng.random(50),
        }, front=range(0, 50, 3))  # fmt: skip
        genomes = genomes_of(10, 50)
        batch = CandidateBatch(genomes, {"latency_ms": np.arange(10) / 4}, {3: "out of memory"})
        store.add_generation(experiment, Generation(1, 60, 0.2), batch, genomes_of(50)[::3], {})
        return list(store.candidates(experiment, limit=100).items)

    def expected(self, rows: list[Candidate], where: Sequence[Filter], on_front: bool = False) -> list[Candidate]:
        return [
            row for row in rows
            if (row.on_front or not on_front) and all(
                one.metric in row.predicted and COMPARE[one.op](row.predicted[one.metric], one.value)
                for one in where
            )
        ]  # fmt: skip

    def test_each_comparison(self, store: SqlStore, experiment: str, rows: list[Candidate]) -> None:
        for metric, value in (("latency_ms", 1.25), ("top1", 0.5), ("energy_mj@pixel-6", 1.5)):
            for op in OPS:
                where = [Filter(metric, op, value)]
                found = list(store.candidates(experiment, limit=100, where=where).items)
                assert found == self.expected(rows, where)
                assert 0 < len(found) < 60
                assert store.count_candidates(experiment, where) == len(found)
        assert store.count_candidates(experiment) == 60

    @pytest.mark.parametrize("on_front", [False, True])
    @pytest.mark.parametrize("order", ["id", "-top1", "latency_ms", "-energy_mj@pixel-6"])
    def test_several_with_pages_in_an_order(
        self, store: SqlStore, experiment: str, rows: list[Candidate], order: str, on_front: bool
    ) -> None:
        where = [Filter("latency_ms", "<=", 2), Filter("top1", ">", 0.125), Filter("energy_mj@pixel-6", "<", 2.5)]
        name = order.removeprefix("-")
        expected = sorted(
            self.expected(rows, where, on_front),
            key=lambda row: (row.id,) if name == "id" else (row.predicted[name], row.id),
            reverse=order.startswith("-"),
        )
        found: list[Candidate] = []
        cursor = None
        while True:
            # The same filters in another order are the same listing.
            where.reverse()
            page = store.candidates(experiment, cursor, 4, order, on_front, where)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == expected
        assert len(found) > 4

    def test_cursors_belong_to_their_filters(
        self, store: SqlStore, experiment: str, rows: list[Candidate]
    ) -> None:
        cursor = store.candidates(experiment, limit=2, where=[Filter("latency_ms", "<=", 2)]).next_cursor
        others = [
            [], [Filter("latency_ms", "<", 2)], [Filter("latency_ms", "<=", 2.5)],
            [Filter("latency_ms", "<=", 2), Filter("top1", ">", 0)],
        ]  # fmt: skip
        for where in others:
            with pytest.raises(CursorError):
                store.candidates(experiment, cursor, 2, where=where)
        assert store.candidates(experiment, cursor, 2, where=[Filter("latency_ms", "<=", 2.0)]).items

    def test_text(self) -> None:
        assert Filter.parse(" latency_ms@pixel-6<=2e0 ") == Filter("latency_ms@pixel-6", "<=", 2)
        assert Filter.parse("top1 == 0.5") == Filter("top1", "==", 0.5)
        for one in ("top1", "top1 = 1", "<= 2", "top1 <= ", "top1 <= x", "top1 <= nan", "macs >= inf", "a b <= 1"):
            with pytest.raises((InvalidFilterError, UnknownNameError)):
                Filter.parse(one)
        with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
            Filter.parse("latency <= 2")
        for metric in ('latency_ms@a"b', "latency_ms@", "latency_ms@x) OR (1"):
            with pytest.raises(InvalidConstraintError):
                Filter(metric, "<=", 2)
        with pytest.raises(InvalidFilterError, match="none of"):
            Filter("top1", "!=", 0.5)  # type: ignore[arg-type]
        for value in (float("nan"), 10**400, True, "1"):
            with pytest.raises(InvalidFilterError, match="finite"):
                Filter("top1", "<", value)  # type: ignore[arg-type]


class TestThinned:
    @pytest.mark.parametrize("most", [3, 40, 100, 5000])
    def test_one_of_each_cell_and_the_whole_front(
        self, store: SqlStore, experiment: str, rng: np.random.Generator, most: int
    ) -> None:
        front = range(0, 300, 25)
        x, y = rng.random(300) * 4 + 1, rng.random(300) ** 2
        rows = add(store, experiment, {"latency_ms": x, "top1": y}, front)
        found = store.thinned(experiment, "latency_ms", "top1", most)
        ids = [one.id for one in found.candidates]
        assert ids == sorted(set(ids))
        assert set(front) <= set(ids)
        assert found.total == 300
        assert list(found.candidates) == [rows[i] for i in ids]
        # The oracle: the same grid in NumPy.
        side = max(1, int(max(most - len(front), 0) ** 0.5))
        cells: dict[tuple[int, ...], list[int]] = {}
        for i in range(300):
            place = [(v[i] - v.min()) / np.ptp(v) * side * (1 - 1e-9) for v in (x, y)]
            cells.setdefault(tuple(map(int, place)), []).append(i)
        expected = dict.fromkeys(front, 0) | {members[0]: len(members) for members in cells.values()}
        assert dict(zip(ids, found.stands_for, strict=True)) == expected
        assert len(ids) <= max(most, len(front) + 1)

    def test_filters_devices_and_what_has_no_numbers(self, store: SqlStore, experiment: str) -> None:
        values = {"top1": np.full(40, 0.5), "latency_ms@a": np.arange(40.0)}
        rows = add(store, experiment, values, [39])
        found = store.thinned(experiment, "latency_ms@a", "top1", 10, [Filter("latency_ms@a", "<", 20)])
        assert found.total == sum(found.stands_for) == 20
        assert 1 < len(found.candidates) <= 10
        assert rows[39] not in found.candidates
        nothing = store.thinned(experiment, "latency_ms", "top1")
        assert (nothing.candidates, nothing.stands_for, nothing.total) == ((), (), 0)
        with pytest.raises(UnknownNameError, match="latency_ms"):
            store.thinned(experiment, "latency", "top1")
        with pytest.raises(ValueError, match="most"):
            store.thinned(experiment, "top1", "macs", 0)


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


class TestCompare:
    def test_dominated_across_experiments(self, store: SqlStore, rng: np.random.Generator) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(3)]
        fronts = []
        for one in ids:
            values = {"top1": rng.integers(0, 9, 30) / 8, "latency_ms": rng.integers(0, 9, 30) / 4}
            fronts.append([row for row in add(store, one, values, range(0, 30, 2)) if row.on_front])
        wanted = [ids[2], ids[0]]
        found = store.compare(wanted, ["latency_ms", "top1"])
        expected = [(one, row) for one in wanted for row in fronts[ids.index(one)]]
        assert [(one.experiment_id, one.candidate) for one in found] == expected
        points = [(row.predicted["latency_ms"], -row.predicted["top1"]) for _, row in expected]
        assert [one.dominated for one in found] == [any(dominates(a, b) for a in points) for b in points]
        assert {one.dominated for one in found} == {True, False}
        assert {one.device for one in found} == {""}
        assert found[0].predicted == {name: expected[0][1].predicted[name] for name in ("latency_ms", "top1")}

    def test_devices_and_what_was_measured(self, store: SqlStore, experiment: str) -> None:
        other = store.create_experiment("b", {}, 0).id
        add(store, experiment, {
            "top1": np.array([0.9, 0.8]), "latency_ms@phone": np.array([2.0, 1.0]),
            "latency_ms@cpu": np.array([4.0, 1.0]),
        }, [0, 1])  # fmt: skip
        add(store, other, {"top1": np.array([0.9]), "latency_ms": np.array([3.0]), "macs": np.array([5.0])}, [0])
        store.add_front_members(experiment, [0])
        store.add_front_members(other, [0])
        store.measure_front_members(experiment, [Measurement(0, 0.5, by_device={"latency_ms@cpu": 4.5})])
        store.measure_front_members(other, [Measurement(0, latency_ms=3.5)])
        found = store.compare([experiment, other], ["top1", "latency_ms"])
        assert [(one.candidate.id, one.device, one.predicted["latency_ms"], one.dominated) for one in found] == [
            (0, "cpu", 4.0, True), (0, "phone", 2.0, False),
            (1, "cpu", 1.0, False), (1, "phone", 1.0, False),
            (0, "", 3.0, True),
        ]  # fmt: skip
        assert [dict(one.measured) for one in found] == [
            {"top1": 0.5, "latency_ms": 4.5}, {"top1": 0.5}, {}, {}, {"latency_ms": 3.5},
        ]  # fmt: skip
        one_device = store.compare([experiment, other], ["top1", "latency_ms@phone"])
        assert [(one.device, one.predicted["latency_ms@phone"]) for one in one_device] == [("", 2.0), ("", 1.0)]
        assert store.compare([experiment], ["macs"]) == ()

    def test_bad_questions(self, store: SqlStore, experiment: str) -> None:
        assert store.compare([experiment], ["top1"]) == store.compare([], ["top1"]) == ()
        for objectives in ([], ["top1", "top1"]):
            with pytest.raises(ValueError, match="objectives"):
                store.compare([experiment], objectives)
        with pytest.raises(UnknownNameError, match="latency_ms"):
            store.compare([experiment], ["latency"])
        with pytest.raises(UnknownNameError, match=experiment):
            store.compare([experiment, experiment[:-1] + "z"], ["top1"])


class TestTokens:
    def test_by_hash_and_in_order(self, store: SqlStore) -> None:
        end = utc_now() + timedelta(days=1)
        made = store.add_token("laptop", ["read", "write"], SHA, end)
        store.add_token("ci", ["admin"], SHA[::-1])
        assert store.token_by_hash(SHA) == made
        assert (made.scopes, made.expires_at, made.last_used_at) == (("read", "write"), end, None)
        assert store.token_by_hash("0" * 64) is None
        assert [one.name for one in store.tokens()] == ["laptop", "ci"]
        assert made.is_valid(utc_now())
        assert not made.is_valid(end)

    def test_use_is_kept_to_the_minute(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store.add_token("a", ["read"], SHA)
        store.touch_token("a")
        first = store.tokens()[0].last_used_at
        assert first is not None
        store.touch_token("a")
        store.touch_token("nobody")
        assert store.tokens()[0].last_used_at == first
        at(store, monkeypatch, timedelta(minutes=2))
        store.touch_token("a")
        last = store.tokens()[0].last_used_at
        assert last is not None
        assert last > first
        at(store, monkeypatch, timedelta(days=-2))
        store.touch_token("a")
        assert store.tokens()[0].last_used_at != last

    def test_revoked_for_good(self, store: SqlStore) -> None:
        store.add_token("a", ["read"], SHA)
        ended = store.revoke_token("a")
        assert ended.revoked_at is not None
        assert not ended.is_valid(utc_now())
        assert store.revoke_token("a") == ended == store.token_by_hash(SHA)
        with pytest.raises(UnknownNameError, match="token 'b'"):
            store.revoke_token("b")

    def test_what_is_refused(self, store: SqlStore) -> None:
        store.add_token("a", ["read"], SHA)
        for name, sha in (("a", SHA[::-1]), ("b", SHA)):
            with pytest.raises(ConflictError):
                store.add_token(name, ["read"], sha)
        for name, scopes, sha in (
            ("", ["read"], SHA),
            ("b", [], SHA),
            ("b", ["read"], "secret"),
            ("b", ["r"], ""),
        ):
            with pytest.raises(ValueError, match="token"):
                store.add_token(name, scopes, sha)
        assert len(store.tokens()) == 1


class TestSize:
    @pytest.fixture
    def done(self, store: SqlStore, experiment: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """A completed experiment: 30 candidates, 0..4 on the front, 7 measured, 9 exported."""
        monkeypatch.setattr(sql_operations, "_AT_ONCE", 7)
        add(store, experiment, {"top1": np.linspace(0, 1, 30)}, range(5))
        store.add_front_members(experiment, [7])
        store.put_export(experiment, ExportRecord(9, "onnx", "a.onnx", "00", None))
        store.claim(experiment)
        store.set_status(experiment, Status.COMPLETED)
        return experiment

    def ids(self, store: SqlStore, experiment: str) -> list[int]:
        return [one.id for one in store.candidates(experiment).items]

    @pytest.mark.parametrize(("keep", "left"), [(True, [0, 1, 2, 3, 4, 7, 9]), (False, [7, 9])])
    def test_forgetting(self, store: SqlStore, done: str, keep: bool, left: list[int]) -> None:
        assert store.forget_candidates(done, keep) == 30 - len(left)
        assert self.ids(store, done) == left
        assert store.count_candidates(done) == len(left)
        assert store.get(done).forgotten == 30 - len(left)
        assert len(store.front(done)) == len(store.exports(done)) == len(store.generations(done)) == 1
        assert store.forget_candidates(done, keep) == 0

    def test_what_is_not_over_keeps_all(self, store: SqlStore, experiment: str) -> None:
        add(store, experiment, {"top1": np.zeros(3)})
        with pytest.raises(StatusError, match="until it is over"):
            store.forget_candidates(experiment)
        store.claim(experiment)
        with pytest.raises(StatusError, match="until it is over"):
            store.forget_candidates(experiment)
        assert store.count_candidates(experiment) == 3

    def test_what_was_forgotten_is_not_resumed(self, store: SqlStore, experiment: str) -> None:
        add(store, experiment, {"top1": np.zeros(3)})
        store.set_status(experiment, Status.CANCELLED)
        store.forget_candidates(experiment)
        with pytest.raises(StatusError, match=r"3 of its candidates were forgotten"):
            store.set_status(experiment, Status.QUEUED)

    def test_deleting(self, store: SqlStore, done: str) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(store, other, {"top1": np.zeros(3)}, [0])
        store.put_supernet(supernet("s"))
        before = store.counts()
        store.delete_experiment(done)
        with pytest.raises(UnknownNameError):
            store.get(done)
        after = store.counts()
        assert (before.candidates, after.candidates) == (33, 3)
        assert (before.front_members, after.front_members, before.exports, after.exports) == (1, 0, 1, 0)
        assert (before.generations, after.generations, after.supernets) == (2, 1, 1)
        assert self.ids(store, other) == [0, 1, 2]

    def test_what_runs_is_not_deleted(self, store: SqlStore, experiment: str) -> None:
        add(store, experiment, {"top1": np.zeros(3)})
        store.claim(experiment)
        with pytest.raises(StatusError, match="cancel it"):
            store.delete_experiment(experiment)
        assert store.count_candidates(experiment) == 3

    def test_one_that_is_resumed_before_anything_is_gone_is_left_whole(
        self, store: SqlStore, done: str, experiment: str
    ) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(store, other, {"top1": np.zeros(9)}, range(7))
        store.set_status(other, Status.CANCELLED)
        parts = store._removed(other, sql_operations._not_needed(True), Status.CANCELLED)
        assert next(parts) == 0  # as the front stays
        store.set_status(other, Status.QUEUED)
        with pytest.raises(StatusError, match="QUEUED and not CANCELLED any more"):
            sum(parts)
        for remove in (store.delete_experiment, store.forget_candidates):
            with pytest.raises(StatusError, match="QUEUED and not FAILED any more"):
                remove(other, expected=Status.FAILED)
        assert (store.get(other).forgotten, store.count_candidates(other)) == (0, 9)
        assert store.claim(other).status is Status.RUNNING

    def test_one_that_is_half_gone_is_neither_claimed_nor_resumed(self, store: SqlStore, done: str) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(store, other, {"top1": np.zeros(9)})
        removed = store._removed
        seen = []

        def claimed_meanwhile(
            experiment_id: str, which: Sequence[ColumnElement[bool]], status: Status
        ) -> Iterator[int]:
            for n in removed(experiment_id, which, status):
                yield n
                seen.append(store.get(other).status)
                assert store.claim_next() is None
                with pytest.raises(StatusError):
                    store.claim(other)
                if store.get(other).forgotten:
                    with pytest.raises(StatusError, match="forgotten"):
                        store.set_status(other, Status.QUEUED)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_removed", claimed_meanwhile)
            store.delete_experiment(other)
        assert set(seen) == {Status.CANCELLED}
        assert len(seen) == 2
        with pytest.raises(UnknownNameError):
            store.get(other)

    def test_counts(self, store: SqlStore, done: str) -> None:
        found = store.counts()
        assert dict(found.experiments) == {status: int(status is Status.COMPLETED) for status in Status}
        assert (found.candidates, found.front_members, found.trials, found.tables) == (30, 1, 0, 0)

    def test_upkeep_changes_nothing_that_is_seen(self, store: SqlStore, done: str) -> None:
        before = store.candidates(done).items, store.get(done)
        store.upkeep()
        assert (store.candidates(done).items, store.get(done)) == before
        store.ping()


class TestAskingAgain:
    def test_the_newest_generation_once_more(self, store: SqlStore, experiment: str) -> None:
        genomes = genomes_of(4)
        batch, one = CandidateBatch(genomes, {"top1": np.zeros(4)}), Generation(0, 4, 0.1)
        store.add_generation(experiment, one, batch, genomes[:1], {"i": 0})
        store.add_generation(experiment, one, batch, genomes[:1], {"i": 0})
        assert store.generations(experiment) == (one,)
        with pytest.raises(ConflictError, match="1 comes next"):
            store.add_generation(
                experiment, replace(one, created_at=one.created_at + timedelta(seconds=1)), batch, genomes[:1], {}
            )


class TestShared:
    def test_several_that_store_one_thing_at_once(self, store: SqlStore, store_url: str) -> None:
        """Two workers that made the same table: both have it, and neither is refused."""
        begin, failed = threading.Barrier(6), list[BaseException]()

        def put(number: int) -> None:
            try:
                with SqlStore(store_url) as mine:
                    for round_ in range(10):
                        begin.wait(30)
                        mine.put_table(TableRecord(f"t{round_}", "host", "h", str(number), {}))
                        mine.put_supernet(
                            SupernetRecord(f"s{round_}", "a", "h", "d", "h", {}, str(number), {}, "ready")
                        )
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(store.tables()) == 10
