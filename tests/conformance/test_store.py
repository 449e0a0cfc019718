"""What every store promises (see `Store`), held against each store there is."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bitfront.experiments.store.base import MOST_PER_PAGE, SILENCE, Store
from bitfront.experiments.store.errors import ConflictError, CursorError, StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import (
    Candidate,
    CandidateBatch,
    ExportRecord,
    Generation,
    Measurement,
    PredictorRecord,
    SupernetRecord,
    TableRecord,
    Trials,
    utc_now,
)
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.search.constraints import METRICS
from bitfront.supernet.errors import NumericalError, UnknownNameError
from bitfront.supernet.genes import Genomes

Opener = Callable[[], Store]
N_GENES = 7


@pytest.fixture
def opener(store_url: str) -> Opener:
    """Opens one and the same store, each time it is called."""
    return lambda: SqlStore(store_url)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def store(opener: Opener) -> Iterator[Store]:
    with opener() as opened:
        yield opened


@pytest.fixture
def experiment(store: Store) -> str:
    return store.create_experiment("digits", {"space": "digits"}, 0).id


def genomes_of(rng: np.random.Generator, n: int) -> Genomes:
    """Different random genomes."""
    numbers = rng.choice(5**N_GENES, size=n, replace=False)
    return np.stack([numbers // 5**i % 5 for i in range(N_GENES)], axis=1).astype(np.uint8)


def batch_of(
    genomes: Genomes, rng: np.random.Generator, metrics: tuple[str, ...] = tuple(METRICS)
) -> CandidateBatch:
    return CandidateBatch(genomes, {metric: rng.random(len(genomes)) for metric in metrics})


def everything(
    store: Store, experiment_id: str, limit: int, order: str = "id", on_front: bool = False
) -> list[Candidate]:
    items: list[Candidate] = []
    cursor = None
    while True:
        page = store.candidates(experiment_id, cursor, limit, order, on_front)
        items += page.items
        if page.next_cursor is None:
            return items
        assert len(page.items) == limit
        cursor = page.next_cursor


SUPERNET = SupernetRecord(
    id="ab12", space="digits", space_hash="s1", data="digits", data_hash="d1", training={"epochs": 3},
    path="supernets/ab12.safetensors", metrics={}, state="training",
    created_at=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
)  # fmt: skip


class TestExperiments:
    def test_comes_back_as_created(self, opener: Opener) -> None:
        spec = {"space": "digits", "nested": {"ä": [1, 2.5, None, True, "x"]}, "empty": {}}
        before = datetime.now(UTC)
        with opener() as store:
            made = store.create_experiment("My Digits, try 2!", spec, 2**63 - 1)
        with opener() as store:
            found = store.get(made.id)
        assert found == made
        assert (found.name, found.spec, found.seed) == ("My Digits, try 2!", spec, 2**63 - 1)
        assert (found.status, found.owner, found.started_at) == (Status.QUEUED, None, None)
        assert before <= found.created_at <= datetime.now(UTC)
        assert found.created_at.utcoffset() == timedelta(0)
        assert re.fullmatch(r"my-digits-try-2-[0-9a-f]{6}", found.id)

    @pytest.mark.parametrize("name", ["", "---", "ünïcode", "x" * 500, "../../etc"])
    def test_id_is_safe_in_paths_and_urls(self, store: Store, name: str) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{6}", store.create_experiment(name, {}, 0).id)

    def test_same_spec_twice_is_two_experiments(self, store: Store) -> None:
        assert store.create_experiment("a", {}, 0).id != store.create_experiment("a", {}, 0).id

    def test_unknown_id_names_the_nearest(self, store: Store, experiment: str) -> None:
        wrong = experiment[:-1] + "z"
        calls: list[Callable[[], object]] = [
            lambda: store.get(wrong),
            lambda: store.set_status(wrong, Status.CANCELLED),
            lambda: store.set_stage(wrong, "x"),
            lambda: store.claim(wrong),
            lambda: store.link(wrong),
            lambda: store.heartbeat(wrong),
            lambda: store.generations(wrong),
            lambda: store.last_generation(wrong),
            lambda: store.candidates(wrong),
            lambda: store.count_candidates(wrong),
            lambda: store.front(wrong),
            lambda: store.exports(wrong),
            lambda: store.add_front_members(wrong, []),
        ]
        for call in calls:
            with pytest.raises(UnknownNameError, match=f"did you mean '{experiment}'"):
                call()

    def test_links(self, store: Store, experiment: str) -> None:
        store.put_supernet(SUPERNET)
        store.put_predictor(PredictorRecord("p", SUPERNET.id, "transferred", "p.safetensors", {}))
        store.link(experiment, supernet_id=SUPERNET.id)
        store.link(experiment, predictor_id="p")
        found = store.get(experiment)
        assert found.table_ids == {}
        assert (found.supernet_id, found.predictor_id, found.table_id) == (SUPERNET.id, "p", None)
        with pytest.raises(ConflictError, match="nothing was stored"):
            store.link(experiment, table_id="missing")

    def test_links_to_the_tables_of_several_devices(self, store: Store, experiment: str) -> None:
        for table_id in ("t1", "t2"):
            store.put_table(TableRecord(table_id, "bitfusion", "s", "t.json", {}))
        store.link(experiment, table_ids={"phone": "t1", "cpu.2": "t2"})
        store.link(experiment, table_ids=None)
        found = store.get(experiment)
        assert (found.table_id, found.table_ids) == (None, {"phone": "t1", "cpu.2": "t2"})
        with pytest.raises(ConflictError, match=r"'t3' of device 'cpu\.2' is not stored"):
            store.link(experiment, table_ids={"phone": "t1", "cpu.2": "t3"})
        assert store.get(experiment) == found


class TestListing:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
    def test_pages_hold_each_once_newest_first(self, store: Store, limit: int) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(7)]
        seen: list[str] = []
        cursor = None
        for _ in range(math.ceil(7 / limit)):
            page = store.list_experiments(cursor, limit)
            seen += [one.id for one in page.items]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == ids[::-1]

    def test_rows_added_between_pages_shift_nothing(self, store: Store) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(4)]
        first = store.list_experiments(limit=2)
        store.create_experiment("b", {}, 9)
        second = store.list_experiments(first.next_cursor, limit=2)
        assert [one.id for one in (*first.items, *second.items)] == ids[::-1]

    def test_one_status(self, store: Store) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(3)]
        store.set_status(ids[1], Status.CANCELLED)
        assert [one.id for one in store.list_experiments(status=Status.QUEUED).items] == [ids[2], ids[0]]
        assert [one.id for one in store.list_experiments(status=Status.CANCELLED).items] == [ids[1]]

    @pytest.mark.parametrize("cursor", ["", "x", "!!", "bm9uZQ", "W10", "é", "A" * 5000])
    def test_damaged_cursor(self, store: Store, cursor: str) -> None:
        with pytest.raises(CursorError):
            store.list_experiments(cursor)

    @pytest.mark.parametrize("limit", [0, -1, MOST_PER_PAGE + 1])
    def test_bad_limit(self, store: Store, experiment: str, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            store.list_experiments(limit=limit)
        with pytest.raises(ValueError, match="limit"):
            store.candidates(experiment, limit=limit)


LEGAL = {
    ("QUEUED", "CANCELLED"),
    ("RUNNING", "CANCELLING"), ("RUNNING", "COMPLETED"), ("RUNNING", "FAILED"), ("RUNNING", "INTERRUPTED"),
    ("CANCELLING", "CANCELLED"), ("CANCELLING", "COMPLETED"), ("CANCELLING", "FAILED"),
    ("CANCELLING", "INTERRUPTED"),
    ("CANCELLED", "QUEUED"), ("FAILED", "QUEUED"), ("INTERRUPTED", "QUEUED"), ("INTERRUPTED", "CANCELLED"),
    ("INTERRUPTED", "FAILED"),
}  # fmt: skip
WAY_TO = {
    "QUEUED": [],
    "RUNNING": [],
    "CANCELLING": ["CANCELLING"],
    "CANCELLED": ["CANCELLING", "CANCELLED"],
    "COMPLETED": ["COMPLETED"],
    "FAILED": ["FAILED"],
    "INTERRUPTED": ["INTERRUPTED"],
}


class TestLife:
    def bring(self, store: Store, experiment: str, status: str) -> None:
        if status != "QUEUED":
            store.claim(experiment)
        for step in WAY_TO[status]:
            store.set_status(experiment, Status(step))

    @pytest.mark.parametrize(("old", "new"), list(itertools.product(Status, Status)))
    def test_only_legal_changes(self, store: Store, experiment: str, old: Status, new: Status) -> None:
        self.bring(store, experiment, old)
        if (old, new) in LEGAL:
            assert store.set_status(experiment, new, "because").status is new
            assert store.get(experiment).reason == "because"
        else:
            with pytest.raises(StatusError, match=new):
                store.set_status(experiment, new, "because")
            assert (store.get(experiment).status, store.get(experiment).reason) == (old, "")

    def test_only_from_the_status_that_was_expected(self, store: Store, experiment: str) -> None:
        with pytest.raises(StatusError, match="QUEUED, not INTERRUPTED"):
            store.set_status(experiment, Status.CANCELLED, expected=Status.INTERRUPTED)
        assert store.get(experiment).status is Status.QUEUED
        assert store.set_status(experiment, Status.CANCELLED, expected=Status.QUEUED).status is Status.CANCELLED

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.QUEUED])
    def test_only_queued_ones_are_claimed(self, store: Store, experiment: str, status: Status) -> None:
        self.bring(store, experiment, status)
        with pytest.raises(StatusError, match=status):
            store.claim(experiment)

    def test_times_and_owner(self, store: Store, experiment: str) -> None:
        running = store.claim(experiment)
        assert running.owner == Owner.current()
        assert running.started_at is not None
        assert running.started_at == running.heartbeat_at
        failed = store.set_status(experiment, Status.FAILED, "disk full")
        assert (failed.owner, failed.reason) == (None, "disk full")
        assert failed.finished_at is not None
        assert failed.finished_at >= running.started_at
        queued = store.set_status(experiment, Status.QUEUED)
        assert (queued.finished_at, queued.reason) == (None, "")
        assert store.claim(experiment).started_at == running.started_at

    def test_stage(self, store: Store, experiment: str) -> None:
        store.set_stage(experiment, "supernet")
        assert store.get(experiment).stage == "supernet"

    def test_one_of_many_claims_succeeds(self, opener: Opener, experiment: str) -> None:
        barrier = threading.Barrier(6)
        won: list[int] = []

        def compete(number: int) -> None:
            with opener() as mine:
                barrier.wait()
                try:
                    mine.claim(experiment, Owner("elsewhere", number, ""))
                except StatusError:
                    return
                won.append(number)

        threads = [threading.Thread(target=compete, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        with opener() as store:
            assert store.get(experiment).owner == Owner("elsewhere", won[0], "")

    def test_heartbeat_tells_of_cancelling_and_of_loss(self, store: Store, experiment: str) -> None:
        began = store.claim(experiment).heartbeat_at
        assert store.heartbeat(experiment) is Status.RUNNING
        beat = store.get(experiment).heartbeat_at
        assert began is not None
        assert beat is not None
        assert beat >= began
        store.set_status(experiment, Status.CANCELLING)
        assert store.heartbeat(experiment) is Status.CANCELLING
        with pytest.raises(StatusError, match="must stop"):
            store.heartbeat(experiment, Owner("elsewhere", 1, ""))
        store.set_status(experiment, Status.CANCELLED)
        with pytest.raises(StatusError, match="must stop"):
            store.heartbeat(experiment)

    def test_dead_processes_are_found(self, store: Store) -> None:
        code = "from bitfront.experiments.store.owner import Owner; print(Owner.current().started)"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started = child.communicate()[0].strip()
        here = Owner.current()
        dead = Owner(here.host, child.pid, started)
        owners = [dead, dead, here, Owner("elsewhere", child.pid, started), Owner(here.host, here.pid, "earlier")]
        ids = [store.create_experiment("a", {}, 0).id for _ in owners]
        for experiment_id, owner in zip(ids, owners, strict=True):
            store.claim(experiment_id, owner)
        store.set_status(ids[1], Status.CANCELLING)
        assert store.mark_interrupted() == (ids[0], ids[1], ids[4])
        expected = [Status.INTERRUPTED, Status.CANCELLED, Status.RUNNING, Status.RUNNING, Status.INTERRUPTED]
        assert [store.get(one).status for one in ids] == expected
        assert f"process {child.pid}" in store.get(ids[0]).reason
        assert store.mark_interrupted() == ()

    def test_a_silent_process_of_another_host_is_given_up(
        self, store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.claim(experiment, Owner("elsewhere", 1, ""))
        assert store.mark_interrupted() == ()
        monkeypatch.setattr(store, "_clock", lambda: utc_now() + SILENCE - timedelta(seconds=30))
        assert store.mark_interrupted() == ()
        monkeypatch.setattr(store, "_clock", lambda: utc_now() + SILENCE + timedelta(seconds=30))
        assert store.mark_interrupted() == (experiment,)
        with pytest.raises(StatusError, match="must stop"):
            store.heartbeat(experiment, Owner("elsewhere", 1, ""))


class TestGenerations:
    def test_comes_back_with_its_state(self, opener: Opener, experiment: str, rng: np.random.Generator) -> None:
        batch = batch_of(genomes_of(rng, 20), rng)
        state = {"population": batch.genomes, "rng": {"state": 2**127 + 1}, "nested": [{"F": rng.random((3, 2))}]}
        generation = Generation(0, 20, 0.123456789)
        with opener() as store:
            assert store.last_generation(experiment) is None
            store.add_generation(experiment, generation, batch, batch.genomes[:3], state)
        with opener() as store:
            last = store.last_generation(experiment)
            found = everything(store, experiment, 100)
        assert last is not None
        assert last[0] == generation
        assert last[0].created_at == generation.created_at
        np.testing.assert_array_equal(last[1]["population"], batch.genomes)
        assert last[1]["rng"] == state["rng"]
        np.testing.assert_array_equal(last[1]["nested"][0]["F"], state["nested"][0]["F"])  # type: ignore[index]
        assert [one.genome for one in found] == [row.tobytes() for row in batch.genomes]
        for metric in METRICS:
            assert [one.predicted[metric] for one in found] == batch.predicted[metric].tolist()

    def test_state_of_the_newest_counts(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        for index in range(3):
            batch = batch_of(genomes_of(rng, 4), rng)
            store.add_generation(
                experiment, Generation(index, 4 * index, index / 2), batch, batch.genomes[:1], {"i": index}
            )
        last = store.last_generation(experiment)
        assert last == (Generation(2, 8, 1.0), {"i": 2})
        assert store.generations(experiment) == tuple(Generation(i, 4 * i, i / 2) for i in range(3))

    @pytest.mark.parametrize("index", [-1, 0, 2])
    def test_index_must_follow(self, store: Store, experiment: str, rng: np.random.Generator, index: int) -> None:
        first = batch_of(genomes_of(rng, 4), rng)
        store.add_generation(experiment, Generation(0, 4, 0.1), first, first.genomes, {})
        with pytest.raises(ConflictError, match="1 comes next"):
            store.add_generation(experiment, Generation(index, 8, 0.2), first, first.genomes, {})

    def test_known_genomes_stay(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 6)
        first, second = batch_of(genomes[:4], rng), batch_of(genomes[2:], rng)
        store.add_generation(experiment, Generation(0, 4, 0.1), first, genomes[:1], {})
        before = everything(store, experiment, 100)
        store.add_generation(experiment, Generation(1, 8, 0.2), second, genomes[:1], {})
        after = everything(store, experiment, 100)
        assert after[:4] == before
        assert [one.genome for one in after] == [row.tobytes() for row in genomes]
        assert [one.generation for one in after] == [0] * 4 + [1] * 2
        assert store.count_candidates(experiment) == 6

    def test_front_is_replaced(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 2000)
        first, second = genomes[:1500], genomes[700:]
        store.add_generation(experiment, Generation(0, 1, 0.1), batch_of(genomes, rng), first, {})
        assert [one.genome for one in everything(store, experiment, 700, on_front=True)] == [
            g.tobytes() for g in first
        ]
        empty = batch_of(genomes[:0], rng)
        store.add_generation(experiment, Generation(1, 1, 0.1), empty, second, {})
        assert [one.genome for one in everything(store, experiment, 700, on_front=True)] == [
            g.tobytes() for g in second
        ]
        assert {one.genome for one in everything(store, experiment, 999) if one.on_front} == {
            g.tobytes() for g in second
        }

    def test_a_failure_leaves_nothing(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 6)
        store.add_generation(experiment, Generation(0, 4, 0.1), batch_of(genomes[:4], rng), genomes[:2], {"i": 0})
        before = everything(store, experiment, 10), store.last_generation(experiment)
        with pytest.raises(ConflictError, match="1 members of the front"):
            store.add_generation(
                experiment, Generation(1, 8, 0.2), batch_of(genomes[4:5], rng), genomes[4:], {"i": 1}
            )
        with pytest.raises(NumericalError, match="hypervolume"):
            store.add_generation(experiment, Generation(1, 8, math.nan), batch_of(genomes[4:], rng), genomes, {})
        with pytest.raises(TypeError, match=r"state\.a\.b"):
            store.add_generation(
                experiment, Generation(1, 8, 1.0), batch_of(genomes[4:], rng), genomes, {"a": {"b": set()}}
            )
        assert (everything(store, experiment, 10), store.last_generation(experiment)) == before
        assert len(store.generations(experiment)) == 1

    def test_experiments_are_apart(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        other = store.create_experiment("other", {}, 0).id
        batch = batch_of(genomes_of(rng, 5), rng)
        store.add_generation(experiment, Generation(0, 5, 0.1), batch, batch.genomes, {"mine": 1})
        store.add_generation(other, Generation(0, 5, 0.7), batch, batch.genomes[:1], {"mine": 2})
        assert [one.id for one in everything(store, other, 10)] == [
            one.id for one in everything(store, experiment, 10)
        ]
        assert len(everything(store, experiment, 10, on_front=True)) == 5
        assert store.last_generation(other) == (Generation(0, 5, 0.7), {"mine": 2})


class TestCandidates:
    @pytest.fixture
    def rows(self, store: Store, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        """40 candidates with many ties, without energy."""
        genomes = genomes_of(rng, 40)
        predicted = {"top1": rng.integers(0, 4, 40) / 10, "latency_ms": rng.random(40)}
        store.add_generation(
            experiment, Generation(0, 40, 0.1), CandidateBatch(genomes, predicted), genomes[::3], {}
        )
        return everything(store, experiment, 100)

    @pytest.mark.parametrize("on_front", [False, True])
    @pytest.mark.parametrize("limit", [1, 7, 40, 1000])
    @pytest.mark.parametrize("order", ["id", "-id", "top1", "-top1", "latency_ms", "-latency_ms"])
    def test_order(
        self, store: Store, experiment: str, rows: list[Candidate], order: str, limit: int, on_front: bool
    ) -> None:
        name = order.removeprefix("-")
        expected = sorted(
            (row for row in rows if row.on_front or not on_front),
            key=lambda row: (row.id,) if name == "id" else (row.predicted[name], row.id),
            reverse=order.startswith("-"),
        )
        assert everything(store, experiment, limit, order, on_front) == expected

    def test_missing_metrics(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        assert set(rows[0].predicted) == {"top1", "latency_ms"}
        assert everything(store, experiment, 10, "energy_mj") == []

    def test_what_could_not_be_scored_has_its_error_and_no_numbers(
        self, store: Store, experiment: str, rng: np.random.Generator
    ) -> None:
        genomes, top1 = genomes_of(rng, 5), np.array([np.nan, 0.4, np.inf, 0.3, 0.2])
        batch = CandidateBatch(genomes, {"top1": top1}, {0: "out of memory", 2: "its worker died"})
        store.add_generation(experiment, Generation(0, 5, 0.1), batch, genomes[1:2], {})
        found = everything(store, experiment, 2)
        assert [one.error for one in found] == ["out of memory", None, "its worker died", None, None]
        assert [one.predicted.get("top1") for one in found] == [None, 0.4, None, 0.3, 0.2]
        assert [one.id for one in everything(store, experiment, 2, "top1")] == [4, 3, 1]
        with pytest.raises(NumericalError, match="top1 of row 2"):
            CandidateBatch(genomes, {"top1": top1}, {0: "out of memory"})

    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest.mark.parametrize("order", ["latency_ms@pixel-6", "-latency_ms@pixel-6"])
    def test_metrics_of_several_devices(
        self, store: Store, experiment: str, rng: np.random.Generator, order: str, limit: int
    ) -> None:
        genomes = genomes_of(rng, 30)
        latency = rng.random((2, 30)) * np.array([[1e-7], [1e9]])
        latency[0, 7] = latency[0, 9] = 5e-8
        predicted = {
            "top1": rng.random(30), "latency_ms@pixel-6": latency[0], "latency_ms@cpu.2": latency[1]
        }  # fmt: skip
        latency[0, 4] = np.nan
        batch = CandidateBatch(genomes, predicted, {4: "out of memory"})
        store.add_generation(experiment, Generation(0, 30, 0.1), batch, genomes[:1], {})
        found = everything(store, experiment, limit)
        assert [one.predicted for one in found] == [
            {} if i == 4 else {name: values[i] for name, values in predicted.items()} for i in range(30)
        ]
        scored = [one for one in found if one.error is None]
        expected = sorted(
            scored, key=lambda one: (one.predicted["latency_ms@pixel-6"], one.id), reverse=order.startswith("-")
        )
        assert everything(store, experiment, limit, order) == expected
        assert everything(store, experiment, limit, "latency_ms@other") == []

    @pytest.mark.parametrize("name", ["latncy_ms@a", "id@a", 'latency_ms@a"b', "latency_ms@", "latency_ms@a b"])
    def test_an_order_that_can_be_no_metric_of_a_device(self, store: Store, experiment: str, name: str) -> None:
        with pytest.raises(UnknownNameError, match="order"):
            store.candidates(experiment, order=name)

    def test_rows_added_between_pages(
        self, store: Store, experiment: str, rows: list[Candidate], rng: np.random.Generator
    ) -> None:
        first = store.candidates(experiment, limit=25, order="latency_ms")
        fresh = np.full((8, N_GENES), 9, dtype=np.uint8) + np.arange(8, dtype=np.uint8)[:, None]
        store.add_generation(experiment, Generation(1, 48, 0.2), batch_of(fresh, rng), fresh[:1], {})
        second = store.candidates(experiment, first.next_cursor, 100, "latency_ms")
        seen = [one.id for one in (*first.items, *second.items)]
        assert len(seen) == len(set(seen))
        assert {row.id for row in rows} <= set(seen)

    def test_cursor_of_another_listing(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        cursor = store.candidates(experiment, limit=5, order="top1").next_cursor
        assert cursor is not None
        other = store.create_experiment("other", {}, 0).id
        calls: list[Callable[[], object]] = [
            lambda: store.candidates(experiment, cursor, order="-top1"),
            lambda: store.candidates(experiment, cursor),
            lambda: store.candidates(experiment, cursor, order="top1", on_front=True),
            lambda: store.candidates(other, cursor, order="top1"),
            lambda: store.list_experiments(cursor),
        ]
        for call in calls:
            with pytest.raises(CursorError, match="start without a cursor"):
                call()

    def test_unknown_order(self, store: Store, experiment: str) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
            store.candidates(experiment, order="latency")

    def test_one(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        assert store.candidate(experiment, rows[7].id) == rows[7]
        np.testing.assert_array_equal(rows[7].array, np.frombuffer(rows[7].genome, dtype=np.uint8))
        for missing in (40, -1, 2**31, 10**30):
            with pytest.raises(UnknownNameError, match=re.escape(f"candidate of {experiment}")):
                store.candidate(experiment, missing)

    @pytest.mark.parametrize(("value", "metric"), [(math.nan, "latency_ms"), (math.inf, "macs"), (1.5, "top1")])
    def test_numbers_that_make_no_sense_are_refused(self, value: float, metric: str) -> None:
        with pytest.raises(NumericalError, match=f"{metric} of row 1"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {metric: np.array([0.5, value])})

    def test_shapes_are_checked(self) -> None:
        with pytest.raises(ValueError, match="latency"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {"latency": np.zeros(2)})
        with pytest.raises(ValueError, match=r"shape \(2,\)"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {"macs": np.zeros(3)})
        with pytest.raises(ValueError, match="uint8"):
            CandidateBatch(np.zeros((2, 3)), {})  # type: ignore[arg-type]


class TestFront:
    @pytest.fixture
    def members(self, store: Store, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        batch = batch_of(genomes_of(rng, 9), rng)
        store.add_generation(experiment, Generation(0, 9, 0.1), batch, batch.genomes[:4], {})
        return everything(store, experiment, 10, on_front=True)

    def test_predicted_beside_measured(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        ids = [member.id for member in members]
        store.add_front_members(experiment, ids[:2])
        store.measure_front_members(experiment, [Measurement(ids[0], top1_validation=0.9)])
        store.add_front_members(experiment, ids)
        store.measure_front_members(
            experiment,
            [
                Measurement(ids[0], top1_test=0.0, latency_ms=1.5, dominated=True),
                Measurement(ids[1], error="no device here"),
                Measurement(ids[2]),
            ],
        )
        found = store.front(experiment)
        assert [member.candidate for member in found] == members
        assert (found[0].top1_validation, found[0].top1_test, found[0].latency_ms) == (0.9, 0.0, 1.5)
        assert [member.dominated for member in found] == [True, False, False, False]
        assert [member.error for member in found] == [None, "no device here", None, None]
        store.measure_front_members(experiment, [Measurement(ids[0], dominated=False)])
        assert not store.front(experiment)[0].dominated

    def test_measurements_of_several_devices_add_up(
        self, store: Store, experiment: str, members: list[Candidate]
    ) -> None:
        one, two = members[0].id, members[1].id
        store.add_front_members(experiment, [one, two])
        for found in ({"latency_ms@a": 1.25}, {"latency_ms@b-2": 0.1}, {"latency_ms@a": 1.5}, {}):
            store.measure_front_members(experiment, [Measurement(one, top1_test=0.5, by_device=found)])
        assert [member.by_device for member in store.front(experiment)] == [
            {"latency_ms@a": 1.5, "latency_ms@b-2": 0.1},
            {},
        ]
        with pytest.raises(NumericalError, match="top1@a"):
            Measurement(one, by_device={"top1@a": 1.5})

    def test_others_are_refused_whole(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        with pytest.raises(ConflictError):
            store.add_front_members(experiment, [members[0].id, 999])
        assert store.front(experiment) == ()
        store.add_front_members(experiment, [members[0].id])
        with pytest.raises(ConflictError, match="candidate 999"):
            store.measure_front_members(experiment, [Measurement(members[0].id, top1_test=0.5), Measurement(999)])
        assert store.front(experiment)[0].top1_test is None

    def test_nan_is_refused(self) -> None:
        with pytest.raises(NumericalError, match="top1_test"):
            Measurement(0, top1_test=math.nan)

    def test_exports(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        record = ExportRecord(members[0].id, "onnx", "a.onnx", "00ff", None)
        store.put_export(experiment, record)
        store.put_export(experiment, replace(record, sha256="11", top1_test=0.97))
        store.put_export(experiment, replace(record, format="plan"))
        for device in ("phone", "cpu", "phone"):
            store.put_export(experiment, replace(record, device=device, path=f"{device}.onnx"))
        assert store.exports(experiment) == (
            replace(record, sha256="11", top1_test=0.97),
            replace(record, device="cpu", path="cpu.onnx"),
            replace(record, device="phone", path="phone.onnx"),
            replace(record, format="plan"),
        )
        with pytest.raises(ConflictError):
            store.put_export(experiment, replace(record, candidate_id=999))


class TestShared:
    def test_trials_are_kept_once(self, opener: Opener, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 10)
        top1, seconds = rng.random(10), rng.random(10)
        with opener() as store:
            store.put_supernet(SUPERNET)
            store.put_supernet(replace(SUPERNET, id="other"))
            assert store.add_trials("ab12", "validation", "fp32", Trials(genomes[:6], top1[:6], seconds[:6])) == 6
            again = Trials(genomes[4:], np.zeros(6), seconds[4:])
            assert store.add_trials("ab12", "validation", "quantized", again) == 4
            assert store.add_trials("ab12", "test", "quantized", again) == 6
            assert store.add_trials("other", "validation", "fp32", Trials(genomes[:1], top1[:1], seconds[:1])) == 1
            assert store.add_trials("ab12", "test", "fp32", Trials(genomes[:0], top1[:0], seconds[:0])) == 0
        with opener() as store:
            found = store.trials("ab12", "validation", "fp32")
            both = store.trials("ab12", "validation")
            none = store.trials("missing", "test")
        np.testing.assert_array_equal(found.genomes, genomes[:6])
        np.testing.assert_array_equal(found.top1, top1[:6])
        np.testing.assert_array_equal(found.seconds, seconds[:6])
        np.testing.assert_array_equal(both.genomes, genomes)
        assert both.lookup()[genomes[5].tobytes()] == top1[5]
        assert len(none.genomes) == len(none.top1) == 0

    def test_trials_need_a_supernet_and_a_fraction(self, store: Store, rng: np.random.Generator) -> None:
        with pytest.raises(ConflictError):
            store.add_trials("missing", "test", "fp32", Trials(genomes_of(rng, 2), np.zeros(2), np.zeros(2)))
        for bad in (math.nan, -0.1, 97.5):
            with pytest.raises(NumericalError, match="top1 of row 1"):
                Trials(genomes_of(rng, 2), np.array([0.5, bad]), np.zeros(2))

    def test_supernets(self, store: Store) -> None:
        assert store.supernet("ab12") is None
        store.put_supernet(SUPERNET)
        newer = replace(SUPERNET, state="ready", metrics={"top1": 0.98}, created_at=datetime.now(UTC))
        store.put_supernet(newer)
        found = store.supernet("ab12")
        assert found == newer
        assert found is not None
        assert found.created_at == SUPERNET.created_at

    def test_predictors(self, store: Store) -> None:
        first = PredictorRecord("p1", "ab12", "fp32", "p1.safetensors", {"kendall_tau": 0.7})
        with pytest.raises(ConflictError):
            store.put_predictor(first)
        store.put_supernet(SUPERNET)
        store.put_predictor(first)
        store.put_predictor(replace(first, id="p0", kind="transferred", created_at=datetime.now(UTC)))
        store.put_predictor(replace(first, metrics={}))
        assert [one.id for one in store.predictors("ab12")] == ["p1", "p0"]
        store.put_supernet(replace(SUPERNET, id="cd34"))
        store.put_predictor(replace(first, id="p2", supernet_id="cd34", created_at=datetime.now(UTC)))
        assert [one.id for one in store.predictors()] == ["p1", "p0", "p2"]
        assert [one.id for one in store.predictors("cd34")] == ["p2"]
        assert store.predictor("p1") == replace(first, metrics={})
        assert (store.predictor("none"), store.predictors("none")) == (None, ())

    def test_tables(self, store: Store) -> None:
        record = TableRecord("t1", "bitfusion", "s1", "t1.json", {"date": "2024-05-06"})
        store.put_table(record)
        store.put_table(replace(record, id="t0", device="host", created_at=datetime.now(UTC)))
        store.put_table(replace(record, path="t1b.json"))
        assert store.table("t1") == replace(record, path="t1b.json")
        assert store.table("t2") is None
        assert [one.id for one in store.tables()] == ["t1", "t0"]
        assert [one.id for one in store.tables("host")] == ["t0"]

    def test_two_openers_see_one_store(self, opener: Opener, store: Store, experiment: str) -> None:
        with opener() as other:
            other.set_stage(experiment, "search")
            assert store.get(experiment).stage == "search"
