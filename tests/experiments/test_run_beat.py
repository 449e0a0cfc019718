"""The heartbeat of a run: it tells how far the work is, hears of cancelling, and survives a store that is away."""

from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments import run as module
from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.reporter import LogReporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Progress
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import StorageError


@pytest.fixture
def run(store: Store, spec: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.0)
    one = store.create_experiment("one", spec, 0).id
    store.claim(one)
    return Run(store, home, one, spec_from(spec), LogReporter(home / "log.txt"))


def test_progress_is_stored(run: Run) -> None:
    run.progress("measuring")(3, 7)
    assert run.store.get(run.experiment_id).progress == Progress("measuring", 3, 7)


def test_a_cancellation_is_heard(run: Run) -> None:
    listen = run.progress("measuring")
    listen(1, 7)
    run.store.set_status(run.experiment_id, Status.CANCELLING)
    with pytest.raises(CancelledError):
        listen(2, 7)


def test_a_store_that_is_away_is_told_of_and_asked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Status:
        raise StorageError("the database is gone")

    listen = run.progress("measuring")
    with monkeypatch.context() as patch:
        patch.setattr(run.store, "heartbeat", away)
        listen(1, 7)
    assert (
        "the work goes on, though the store does not answer: the database is gone"
        in (run.home / "log.txt").read_text()
    )
    listen(2, 7)
    assert run.store.get(run.experiment_id).progress == Progress("measuring", 2, 7)


def test_one_that_was_taken_over_stops(run: Run) -> None:
    with open_store(run.home) as other:
        other.set_status(run.experiment_id, Status.INTERRUPTED)
    with pytest.raises(StatusError):
        run.progress("measuring")(1, 7)
