"""What a child does with the experiment that it claims, however the work ends."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.concluding import DRAINED, LOST, CancelledError
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import LostError
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker import child
from bitfront.experiments.worker.child import Work, work_on_next
from bitfront.experiments.worker.recovery import Recovery
from bitfront.experiments.worker.tries import tries_without_progress
from bitfront.supernet.errors import NumericalError, StorageError


@pytest.fixture(autouse=True)
def keeps_its_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's process is no child: what it prints stays where it is."""
    monkeypatch.setattr(child, "_write_to", lambda path: None)


def worked(home: Path, work: Work) -> Experiment:
    with open_store(home) as store:
        one = store.create_experiment("one", {}, 0).id
        assert work_on_next(home, work)
        return store.get(one)


def raising(error: BaseException) -> Work:
    def work(store: Store, home: Path, experiment: Experiment) -> None:
        assert experiment.owner == Owner.current()
        assert tries_without_progress(store, home, experiment) == 1
        raise error

    return work


def test_nothing_queued(tmp_path: Path) -> None:
    def never(store: Store, home: Path, experiment: Experiment) -> None:
        raise AssertionError

    assert not work_on_next(tmp_path, never)


def test_work_that_is_done(tmp_path: Path) -> None:
    ended = worked(tmp_path, lambda store, home, experiment: None)
    assert ended.status is Status.COMPLETED
    assert not list(tmp_path.rglob("tries.json"))


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), Status.INTERRUPTED, DRAINED),
        (SystemExit(1), Status.INTERRUPTED, DRAINED),
        (NumericalError("the loss is nan"), Status.FAILED, "NumericalError: the loss is nan"),
        (ZeroDivisionError("of ours"), Status.FAILED, "ZeroDivisionError: of ours"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_work_that_ends_otherwise(
    tmp_path: Path, error: BaseException, status: Status, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = worked(tmp_path, raising(error))
    assert (ended.status, ended.reason) == (status, reason)
    assert not list(tmp_path.rglob("tries.json"))
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ZeroDivisionError)


def test_sigterm_interrupts(tmp_path: Path) -> None:
    def work(store: Store, home: Path, experiment: Experiment) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    before = signal.getsignal(signal.SIGTERM)
    assert worked(tmp_path, work).status is Status.INTERRUPTED
    assert signal.getsignal(signal.SIGTERM) is before


def test_work_that_is_cancelled(tmp_path: Path) -> None:
    def work(store: Store, home: Path, experiment: Experiment) -> None:
        store.set_status(experiment.id, Status.CANCELLING)
        raise CancelledError("was cancelled")

    ended = worked(tmp_path, work)
    assert (ended.status, ended.reason) == (Status.CANCELLED, "was cancelled")


def test_sigterm_to_one_that_did_not_hear_that_it_is_cancelled(tmp_path: Path) -> None:
    def work(store: Store, home: Path, experiment: Experiment) -> None:
        store.set_status(experiment.id, Status.CANCELLING)
        raise KeyboardInterrupt

    assert worked(tmp_path, work).status is Status.CANCELLED


def test_what_another_process_took_over_is_left_to_it(tmp_path: Path) -> None:
    """As after a host slept for so long that it was given up: its own failure is not the other's."""
    other = Owner("elsewhere", 7, "then")

    def work(store: Store, home: Path, experiment: Experiment) -> None:
        store.set_status(experiment.id, Status.INTERRUPTED)
        store.set_status(experiment.id, Status.QUEUED)
        store.claim(experiment.id, other)
        raise NumericalError("generation 3 is there already")

    with open_store(tmp_path) as store:
        one = store.create_experiment("one", {}, 0).id
        with pytest.raises(NumericalError):
            work_on_next(tmp_path, work)
        assert (store.get(one).status, store.get(one).owner) == (Status.RUNNING, other)


def test_a_full_disk_is_the_reason_and_it_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ended = worked(tmp_path, lambda store, home, experiment: None)
    assert ended.status is Status.FAILED
    assert "No space left" in ended.reason
    assert "Free space" in ended.reason
    with open_store(tmp_path) as store:
        store.set_status(ended.id, Status.QUEUED)
        work_on_next(tmp_path, lambda store, home, experiment: None)
        assert store.get(ended.id).status is Status.COMPLETED


def test_an_end_that_can_not_be_stored_counts_as_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StorageError("the database is gone")

    def work(store: Store, home: Path, experiment: Experiment) -> None:
        monkeypatch.setattr(SqlStore, "set_status", away)
        monkeypatch.setattr(SqlStore, "get", away)
        raise StorageError("the disk is full")

    with open_store(tmp_path) as store:
        one = store.create_experiment("one", {}, 0).id
        with pytest.raises(StorageError, match="the disk is full") as caught:
            work_on_next(tmp_path, work)
        assert "the database is gone" in caught.value.__notes__[0]
        monkeypatch.undo()
        held = store.get(one)
        assert held.status is Status.RUNNING
        assert tries_without_progress(store, tmp_path, held) == 1


def test_a_database_that_was_away_for_too_long_makes_a_crash_and_no_failure(tmp_path: Path) -> None:
    ended = worked(tmp_path, raising(LostError("the store is gone (terminating connection).")))
    assert (ended.status, ended.reason) == (
        Status.INTERRUPTED,
        f"{LOST}: the store is gone (terminating connection).",
    )
    with open_store(tmp_path) as store:
        assert tries_without_progress(store, tmp_path, ended) == 1
        assert not Recovery(store, tmp_path, 1.0).recover()
        assert store.get(ended.id).status is Status.QUEUED


def test_one_that_was_cancelled_while_the_database_was_away(tmp_path: Path) -> None:
    def work(store: Store, home: Path, experiment: Experiment) -> None:
        store.set_status(experiment.id, Status.CANCELLING)
        raise LostError("gone")

    assert worked(tmp_path, work).status is Status.CANCELLED


def test_the_real_child_has_nothing_to_do_in_an_empty_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bitfront.experiments.cli", "_next"],
        env={**os.environ, "BITFRONT_HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
