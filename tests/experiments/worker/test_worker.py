"""The worker's steps, one by one, with children that are no processes and a clock that a test moves."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.concluding import BY_SIGNAL, DRAINED
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store, store_file
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker import roster
from bitfront.experiments.worker import worker as module
from bitfront.experiments.worker.pauses import LONGEST_SECONDS, Pause, Signals
from bitfront.experiments.worker.processes import Child
from bitfront.experiments.worker.roster import WorkerRecord, write_record
from bitfront.experiments.worker.settings import WorkerSettings, WorkerSettingsError
from bitfront.experiments.worker.tries import begin_try, tries_without_progress
from bitfront.experiments.worker.worker import Worker, work_through_queue
from bitfront.supernet.errors import BitfrontError, StorageError


class Clock:
    """Seconds that stand still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeChild(Child):
    """A child of a pid that no process has; `end` is its end."""

    def __init__(self, pid: int) -> None:
        super().__init__(Owner(Owner.current().host, pid, "never"), self)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    code: int | None = None
    heard: tuple[str, ...] = ()

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> int:
        assert self.code is not None
        return self.code

    def stop(self) -> None:
        self.heard += ("stop",)

    def kill(self) -> None:
        self.heard += ("kill",)
        self.code = -9


class Crew:
    """Starts fake children and, asked to, has them claim."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.children: list[FakeChild] = []

    def start(self, home: Path) -> Child:
        self.children.append(FakeChild(4_000_000 + len(self.children)))
        return self.children[-1]

    def claim(self, number: int) -> str:
        claimed = self.store.claim_next(self.children[number].owner)
        assert claimed is not None
        return claimed.id

    def crash(self, number: int) -> None:
        self.children[number].code = -9


@pytest.fixture
def store(tmp_path: Path, migrated: Path) -> Any:
    shutil.copy(migrated, store_file(tmp_path))
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def crew(store: Store) -> Crew:
    return Crew(store)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(store: Store, crew: Crew, clock: Clock, tmp_path: Path, **settings: Any) -> Worker:
    return Worker(store, tmp_path, WorkerSettings(**settings), crew.start, clock)


def queue(store: Store, count: int = 1) -> list[str]:
    return [store.create_experiment("one", {}, seed).id for seed in range(count)]


class TestStarting:
    def test_nothing_queued_starts_nothing(self, store: Store, crew: Crew, clock: Clock, tmp_path: Path) -> None:
        assert not make(store, crew, clock, tmp_path).step()
        assert crew.children == []

    def test_as_many_as_there_are_slots(self, store: Store, crew: Crew, clock: Clock, tmp_path: Path) -> None:
        queue(store, 5)
        worker = make(store, crew, clock, tmp_path, slots=2)
        assert worker.step()
        assert len(crew.children) == 2
        worker.step()
        assert len(crew.children) == 2

    def test_no_second_child_for_one_that_has_not_claimed_yet(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        queue(store, 1)
        worker = make(store, crew, clock, tmp_path, slots=4)
        worker.step()
        worker.step()
        assert len(crew.children) == 1
        crew.claim(0)
        queue(store, 1)
        worker.step()
        assert len(crew.children) == 2

    def test_a_child_that_can_not_work_is_not_started_again_at_once(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        queue(store)
        worker = make(store, crew, clock, tmp_path, poll_seconds=1.0)
        worker.step()
        for failures, pause in enumerate((1.0, 2.0, 4.0), 1):
            crew.children[-1].code = 1
            worker.step()
            clock.now += pause - 0.1
            worker.step()
            assert len(crew.children) == failures
            clock.now += 0.2
            worker.step()
            assert len(crew.children) == failures + 1

    def test_a_machine_without_room_for_a_process_is_asked_again(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue(store, 2)
        tries = []

        def start(home: Path) -> Child:
            tries.append(clock.now)
            if len(tries) < 4:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return crew.start(home)

        worker = Worker(store, tmp_path, WorkerSettings(slots=2, poll_seconds=1.0), start, clock)
        for _ in range(40):
            assert worker.step()
            clock.now += 0.25
        assert [at - 100 for at in tries] == [0.0, 1.0, 3.0, 7.0, 7.0]
        assert len(worker.children) == 2
        assert caplog.text.count("can not start a process: Resource temporarily unavailable") == 3

    def test_one_that_failed_and_said_so_holds_up_nothing(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        queue(store, 2)
        worker = make(store, crew, clock, tmp_path)
        worker.step()
        store.set_status(crew.claim(0), Status.FAILED, "SpecError: no such field")
        crew.children[0].code = 0
        worker.step()
        assert len(crew.children) == 2
        assert [one.status for one in store.list_experiments().items] == [Status.QUEUED, Status.FAILED]


class TestRecovery:
    def crashed(self, store: Store, crew: Crew, worker: Worker, home: Path) -> None:
        worker.step()
        begin_try(store, home, store.get(crew.claim(-1)))
        crew.crash(-1)

    def test_a_crashed_one_is_queued_again_and_started(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path)
        self.crashed(store, crew, worker, tmp_path)
        worker.step()
        assert store.get(one).status is Status.QUEUED
        assert len(crew.children) == 2
        log = (tmp_path / "experiments" / one / "log.txt").read_text()
        assert "worker: its process is gone" in log
        assert "queued again" in log

    def test_one_that_gets_no_further_is_given_up_with_the_reason(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path)
        for _ in range(3):
            assert store.get(one).status is Status.QUEUED
            self.crashed(store, crew, worker, tmp_path)
            worker.step()
            clock.now += 60
            worker.step()
        ended = store.get(one)
        assert ended.status is Status.FAILED
        assert "crashed 3 times" in ended.reason
        assert "is gone" in ended.reason
        assert f"'bitfront resume {one}'" in ended.reason
        assert tries_without_progress(store, tmp_path, ended) == 0  # who resumes it begins anew

    def test_each_try_waits_longer(self, store: Store, crew: Crew, clock: Clock, tmp_path: Path) -> None:
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path, poll_seconds=2.0)
        self.crashed(store, crew, worker, tmp_path)
        worker.step()
        self.crashed(store, crew, worker, tmp_path)
        assert worker.step()
        clock.now += 7.9
        assert worker.step()
        assert store.get(one).status is Status.INTERRUPTED
        clock.now += 0.2
        worker.step()
        assert store.get(one).status is Status.QUEUED

    def test_progress_resets_the_count(self, store: Store, crew: Crew, clock: Clock, tmp_path: Path) -> None:
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path)
        for number in range(8):
            store.put_supernet(_supernet(f"net{number}"))
            self.crashed(store, crew, worker, tmp_path)
            store.link(one, supernet_id=f"net{number}")
            worker.step()
            clock.now += 60
            worker.step()
        assert store.get(one).status is Status.QUEUED

    @pytest.mark.parametrize(
        ("way", "after"),
        [
            ([(Status.INTERRUPTED, BY_SIGNAL)], Status.INTERRUPTED),
            ([(Status.INTERRUPTED, "process 1 on h is gone"), (Status.CANCELLED, "")], Status.CANCELLED),
            ([(Status.CANCELLING, ""), (Status.CANCELLED, "")], Status.CANCELLED),
            ([(Status.FAILED, "SpecError: search.population")], Status.FAILED),
            ([(Status.INTERRUPTED, DRAINED)], Status.QUEUED),
            ([(Status.INTERRUPTED, "process 1 on h is gone")], Status.QUEUED),
        ],
        ids=["a person stopped it", "cancelled when crashed", "cancelled", "failed", "drained", "crashed"],
    )
    def test_which_are_resumed(
        self,
        store: Store,
        crew: Crew,
        clock: Clock,
        tmp_path: Path,
        way: list[tuple[Status, str]],
        after: Status,
    ) -> None:
        (one,) = queue(store)
        store.claim(one)
        for status, reason in way:
            store.set_status(one, status, reason)
        make(store, crew, clock, tmp_path).step()
        assert store.get(one).status is after

    def test_a_child_that_dies_while_it_cancels_leaves_it_cancelled(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path)
        worker.step()
        crew.claim(0)
        store.set_status(one, Status.CANCELLING)
        crew.crash(0)
        worker.step()
        assert store.get(one).status is Status.CANCELLED
        assert len(crew.children) == 1


class TestCancelling:
    def test_a_stuck_child_is_asked_and_then_killed(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Owner, "is_alive", True)
        (one,) = queue(store)
        worker = make(store, crew, clock, tmp_path, grace_seconds=10.0)
        worker.step()
        crew.claim(0)
        store.set_status(one, Status.CANCELLING)
        waits = ((0, ()), (9.9, ()), (0.2, ("stop",)), (1, ("stop",)), (1, ("stop",)), (8, ("stop", "kill")))
        for seconds, heard in waits:
            clock.now += seconds
            worker.step()
            assert crew.children[0].heard == heard

    def test_who_is_no_child_is_left_alone(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "kill", None)
        (one,) = queue(store)
        store.claim(one)  # this very process
        store.set_status(one, Status.CANCELLING)
        worker = make(store, crew, clock, tmp_path, grace_seconds=1.0)
        for _ in range(5):
            worker.step()
            clock.now += 10
        assert store.get(one).status is Status.CANCELLING


class TestRoster:
    def test_living_children_of_a_dead_worker_are_taken_over(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        me = Owner.current()
        gone = Owner(me.host, 4_194_303, "never")
        write_record(tmp_path, WorkerRecord(gone, 1, (me, gone)))
        worker = make(store, crew, clock, tmp_path)
        assert [child.owner for child in worker.children] == [me]
        queue(store)
        store.claim_next()
        queue(store)
        worker.step()
        assert crew.children == []  # its only slot is taken
        ((record, alive),) = roster.records(tmp_path)
        assert (record.owner, record.children, alive) == (me, (me,), True)

    def test_one_that_works_takes_over_from_one_that_dies(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        """And its record says so before the dead one's is gone, so that they are never nobody's."""
        worker = make(store, crew, clock, tmp_path)
        worker.step()
        me = Owner.current()
        gone = WorkerRecord(Owner(me.host, 4_194_303, "never"), 1, (me,))
        write_record(tmp_path, gone)
        worker.step()
        assert [child.owner for child in worker.children] == [me]
        assert [record for record, _ in roster.records(tmp_path)] == [WorkerRecord(me, 1, (me,))]
        write_record(tmp_path, gone)
        worker.step()
        assert [child.owner for child in worker.children] == [me]  # once

    def test_a_record_that_can_not_be_written_buries_nobody(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise StorageError("No space left on device")

        me = Owner.current()
        gone = Owner(me.host, 4_194_303, "never")
        write_record(tmp_path, WorkerRecord(gone, 1, (me,)))
        worker = make(store, crew, clock, tmp_path)
        monkeypatch.setattr(module, "write_record", full)
        with pytest.raises(StorageError):
            worker.step()
        assert [record.owner for record, _ in roster.records(tmp_path)] == [gone]

    def test_a_living_worker_keeps_its_children(
        self, store: Store, crew: Crew, clock: Clock, tmp_path: Path
    ) -> None:
        me = Owner.current()
        write_record(tmp_path, WorkerRecord(me, 1, (me,)))
        assert make(store, crew, clock, tmp_path).children == ()

    def test_one_of_another_host_is_alive_while_it_is_heard_of(self, tmp_path: Path) -> None:
        other = Owner("elsewhere", 1, "x")
        write_record(tmp_path, WorkerRecord(other, 3))
        assert roster.living_workers(tmp_path) == [WorkerRecord(other, 3)]
        path = tmp_path / "workers" / "elsewhere-1.json"
        long_ago = path.stat().st_mtime - 2 * roster.SILENT_SECONDS
        os.utime(path, (long_ago, long_ago))
        assert roster.living_workers(tmp_path) == []
        assert roster.dead_workers(tmp_path) == []  # it is for its own host to say

    @pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"owner": 3, "slots": 1, "children": []}', "{"])
    def test_damaged_records_are_left_out(self, tmp_path: Path, damaged: str) -> None:
        (tmp_path / "workers").mkdir()
        (tmp_path / "workers" / "x.json").write_text(damaged)
        assert roster.records(tmp_path) == []


class TestLoop:
    def test_waits_for_a_store_that_does_not_answer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        gone: list[Exception | bool] = [
            StorageError("gone"),
            OSError(5, "Input/output error"),
            StorageError("gone"),
        ]
        answers = iter([*gone, True, False])
        steps = []

        def step(self: Worker) -> bool:
            answer = next(answers)
            steps.append(answer)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(Worker, "step", step)
        waits: list[float] = []
        monkeypatch.setattr(Signals, "wait", lambda self, seconds: waits.append(seconds))
        with caplog.at_level(logging.INFO):
            work_through_queue(tmp_path, WorkerSettings(once=True, poll_seconds=1.0))
        assert len(steps) == 5
        assert waits == [1.0, 2.0, 4.0, 1.0]
        assert caplog.text.count("gone") == 1
        assert "answers again" in caplog.text

    def test_waits_for_a_store_that_can_not_be_opened_yet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = []

        def opened(home: Path, patience: float) -> Store:
            tries.append(home)
            if len(tries) < 3:
                raise StorageError("not yet")
            return open_store(home)

        monkeypatch.setattr(module, "open_store", opened)
        monkeypatch.setattr(Signals, "wait", lambda self, seconds: None)
        work_through_queue(tmp_path, WorkerSettings(once=True))
        assert len(tries) == 3

    def test_ends_with_its_parent_and_leaves_its_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Worker, "drain", None)
        work_through_queue(tmp_path, WorkerSettings(parent=os.getppid() + 1))
        assert len(roster.living_workers(tmp_path)) == 1


class TestSmallThings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"slots": 0},
            {"poll_seconds": 0.0},
            {"poll_seconds": float("nan")},
            {"poll_seconds": float("inf")},
            {"grace_seconds": -1.0},
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any]) -> None:
        with pytest.raises(WorkerSettingsError, match=str(next(iter(settings.values())))):
            WorkerSettings(**settings)
        assert issubclass(WorkerSettingsError, BitfrontError)

    def test_pauses_grow_and_end(self) -> None:
        pause = Pause(0.5)
        assert (pause.seconds, pause.succeeded()) == (0.0, False)
        assert [pause.failed() for _ in range(3)] == [True, False, False]
        assert pause.seconds == 2.0
        for _ in range(5000):
            pause.failed()
        assert pause.seconds == LONGEST_SECONDS
        assert (pause.succeeded(), pause.seconds) == (True, 0.0)

    @pytest.mark.parametrize(
        ("code", "words"),
        [(None, "ended"), (0, "ended with exit code 0"), (-9, "was killed by SIGKILL"), (-99, "by signal 99")],
    )
    def test_endings_in_words(self, code: int | None, words: str) -> None:
        child = FakeChild(4_000_000)
        child.code = code
        assert words in child.ending


def _supernet(supernet_id: str) -> Any:
    from bitfront.experiments.store.records import SupernetRecord

    return SupernetRecord(supernet_id, "digits", "h", "digits", "ab", {}, "net", {}, "training")
