"""What every store promises of an experiment: made and found again, listed, and its life from status to status."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from bitfront.experiments.store.base import MOST_PER_PAGE, SILENCE, Store
from bitfront.experiments.store.errors import ConflictError, CursorError, StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import PredictorRecord, SupernetRecord, TableRecord
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import UnknownNameError

Opener = Callable[[], Store]
At = Callable[[timedelta], None]


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

    def test_links(self, store: Store, experiment: str, supernet: SupernetRecord) -> None:
        store.put_supernet(supernet)
        store.put_predictor(PredictorRecord("p", supernet.id, "transferred", "p.safetensors", {}))
        store.link(experiment, supernet_id=supernet.id)
        store.link(experiment, predictor_id="p")
        found = store.get(experiment)
        assert found.table_ids == {}
        assert (found.supernet_id, found.predictor_id, found.table_id) == (supernet.id, "p", None)
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

    def test_a_silent_process_of_another_host_is_given_up(self, store: Store, experiment: str, at: At) -> None:
        store.claim(experiment, Owner("elsewhere", 1, ""))
        assert store.mark_interrupted() == ()
        at(SILENCE - timedelta(seconds=30))
        assert store.mark_interrupted() == ()
        at(SILENCE + timedelta(seconds=30))
        assert store.mark_interrupted() == (experiment,)
        with pytest.raises(StatusError, match="must stop"):
            store.heartbeat(experiment, Owner("elsewhere", 1, ""))
