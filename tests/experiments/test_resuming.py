"""Going on with what was interrupted: by a person, who has all tries again, or by a worker while one looks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import Result

from bitfront.experiments.commands import look
from bitfront.experiments.concluding import BY_SIGNAL, DRAINED
from bitfront.experiments.resuming import resume
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.roster import WorkerRecord, remove_record, write_record
from bitfront.experiments.worker.tries import begin_try, tries_without_progress

Call = Callable[..., Result]


def crashed(store: Store, home: Path, times: int) -> str:
    """An experiment that was begun so often without getting any further."""
    one = store.create_experiment("one", {}, 0).id
    store.claim(one)
    for _ in range(times):
        begin_try(store, home, store.get(one))
    store.set_status(one, Status.INTERRUPTED, "its process is gone")
    return one


def test_whoever_resumes_gives_it_all_its_tries_again(store: Store, home: Path, call: Call) -> None:
    ways: tuple[Callable[[str], bool], ...] = (
        lambda one: call("resume", one, "--queue").exit_code == 0,
        lambda one: resume(store, home, one).status is Status.QUEUED,
    )
    for again in ways:
        one = crashed(store, home, 2)
        assert tries_without_progress(store, home, store.get(one)) == 2
        assert again(one)
        assert store.get(one).status is Status.QUEUED
        assert tries_without_progress(store, home, store.get(one)) == 0


def test_what_a_worker_tries_for_the_third_time_is_not_begun_anew(store: Store, home: Path) -> None:
    one = crashed(store, home, 2)
    store.set_status(one, Status.QUEUED)
    assert resume(store, home, one).status is Status.QUEUED
    store.claim(one)
    with pytest.raises(StatusError):
        resume(store, home, one)
    assert tries_without_progress(store, home, store.get(one)) == 2


@contextmanager
def a_worker(home: Path) -> Iterator[None]:
    write_record(home, WorkerRecord(Owner.current(), 1))
    yield
    remove_record(home, Owner.current())


@pytest.fixture
def running(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An experiment that runs, and has said so in its log."""
    monkeypatch.setattr(look, "_POLL_SECONDS", 0.01)
    one = store.create_experiment("one", {}, 0).id
    store.claim(one)
    log = home / "experiments" / one / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("begun\n")
    return one


def test_a_log_is_followed_through_what_a_worker_resumes(
    call: Call, store: Store, home: Path, running: str
) -> None:
    def interrupted_and_resumed() -> None:
        store.set_status(running, Status.INTERRUPTED, DRAINED)
        time.sleep(0.3)
        store.set_status(running, Status.QUEUED)
        store.claim(running)
        with (home / "experiments" / running / "log.txt").open("a") as log:
            log.write("ended\n")
        store.set_status(running, Status.COMPLETED)

    worker = threading.Thread(target=interrupted_and_resumed)
    with a_worker(home):
        worker.start()
        result = call("logs", running, "--follow")
    worker.join()
    assert result.stdout == "begun\nended\n"


@pytest.mark.parametrize(("reason", "is_there"), [(BY_SIGNAL, True), (DRAINED, False)])
def test_it_ends_where_nobody_resumes(
    call: Call, store: Store, home: Path, running: str, reason: str, is_there: bool
) -> None:
    store.set_status(running, Status.INTERRUPTED, reason)
    if is_there:
        with a_worker(home):
            assert call("logs", running, "--follow").stdout == "begun\n"
    else:
        assert call("logs", running, "--follow").stdout == "begun\n"
