"""Whoever works with a home for long has it locked, so that no backup is put in its place meanwhile."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments import pipeline
from bitfront.experiments.service.serving import run_server
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store import swapping
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.store.swapping import InUseError, finish_swap, in_use, opening, swap, used_by_nobody
from bitfront.experiments.worker import child
from bitfront.experiments.worker.child import work_on_next
from bitfront.experiments.worker.settings import WorkerSettings
from bitfront.experiments.worker.worker import Worker, work_through_queue
from bitfront.supernet.errors import StorageError

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "_WAIT_SECONDS", 0.0)


class Seen:
    """How often something was done in a home that was in use then."""

    def __init__(self, home: Path) -> None:
        self.home, self.times = home, 0

    def __call__(self, *_: Any, **__: Any) -> bool:
        with pytest.raises(InUseError, match=f"uses {self.home}: stop it first"), used_by_nobody(self.home):
            pass
        self.times += 1
        return False


@pytest.fixture
def seen(home: Path) -> Iterator[Seen]:
    home.mkdir()
    made = Seen(home)
    yield made
    assert made.times == 1
    with used_by_nobody(home):
        pass


def test_a_server(seen: Seen, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.run", seen)
    run_server(Settings(home), store, with_worker=False)


def test_a_worker(seen: Seen, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "step", seen)
    work_through_queue(home, WorkerSettings(once=True))


def test_its_child(seen: Seen, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_write_to", lambda path: None)
    store.create_experiment("one", {}, 0)

    def work(*_: Any) -> None:
        seen()

    assert work_on_next(home, work)


def test_a_run_in_a_terminal(
    seen: Seen, call: Call, store: Store, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store.create_experiment("one", spec, 0).id

    def works(store: Store, *_: Any) -> None:
        seen()
        store.claim(one)
        store.set_status(one, Status.FAILED, "enough")

    monkeypatch.setattr(pipeline, "run_experiment", works)
    assert "enough" in call("resume", one).stderr


def test_nobody_begins_while_it_is_replaced(home: Path) -> None:
    home.mkdir()
    with used_by_nobody(home):
        for begin in (in_use, opening):
            with pytest.raises(StorageError, match="is being restored"), begin(home):
                pass
    with in_use(home), opening(home), in_use(home):
        pass


class TestCutOff:
    """What a swap that was cut off left, is finished before the store is opened."""

    @pytest.fixture
    def half(self, home: Path) -> Path:
        (home / ".replaced").mkdir(parents=True)
        (home / ".restoring").mkdir()
        (home / ".replaced" / "old").touch()
        (home / ".restoring" / "late").touch()
        (home / "new").touch()
        return home

    def test_by_whoever_opens_it(self, half: Path) -> None:
        with open_store(half):
            names = {path.name for path in half.iterdir() if "sqlite" not in path.name}
            assert names == {"new", "late"}

    def test_not_under_somebody_who_uses_it(self, half: Path) -> None:
        with in_use(half), pytest.raises(StorageError, match="try again"), opening(half):
            pass
        assert (half / ".replaced" / "old").exists()

    def test_what_can_not_be_finished_is_told(self, half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, target: Path) -> Path:
            raise PermissionError(1, "Operation not permitted")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse)
            with pytest.raises(StorageError, match=r"Operation not permitted\. Mend that"), opening(half):
                pass
        with used_by_nobody(half):
            finish_swap(half)
        assert {path.name for path in half.iterdir()} == {"new", "late"}

    def test_what_can_not_be_deleted_does_no_harm(
        self, half: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            with opening(half):
                pass
        assert f"can not delete {half}/.removing" in caplog.text
        with opening(half):
            assert (half / ".removing" / "old").exists()
        (half / ".restoring").mkdir()
        (half / ".restoring" / "newer").touch()
        with used_by_nobody(half):
            finish_swap(half)
        assert {path.name for path in half.iterdir()} == {"new", "late"}


def test_a_file_system_without_locks_is_used_without(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    home.mkdir()
    (home / ".restoring").mkdir()
    (home / ".restoring" / "new").touch()
    (home / "old").touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with in_use(home), used_by_nobody(home):
        swap(home)
    assert [path.name for path in home.iterdir()] == ["new"]
