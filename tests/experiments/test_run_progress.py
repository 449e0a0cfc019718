"""What a run tells the store of how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments import run as run_module
from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Progress
from bitfront.experiments.store.statuses import Status


@pytest.fixture
def run(store: Store, home: Path, spec: dict[str, Any]) -> Run:
    """A run that has the experiment."""
    one = store.create_experiment("a", spec, 0).id
    store.claim(one)
    return Run(store, home, one, spec_from(spec), Reporters())


def test_told_with_the_heartbeat_and_gone_with_the_stage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_BEAT_SECONDS", -1.0)
    listen = run.progress("measuring")
    listen(3, 10)
    assert run.store.get(run.experiment_id).progress == Progress("measuring", 3, 10)
    run.beat()
    assert run.store.get(run.experiment_id).progress == Progress("measuring", 3, 10)
    run.stage("7 export")
    assert run.store.get(run.experiment_id).progress is None


def test_not_more_often_than_heartbeats(run: Run) -> None:
    listen = run.progress("measuring")
    for done in range(5):
        listen(done, 10)
    assert run.store.get(run.experiment_id).progress == Progress("measuring", 0, 10)


def test_a_request_to_cancel_is_noticed(run: Run) -> None:
    run.store.set_status(run.experiment_id, Status.CANCELLING)
    with pytest.raises(CancelledError):
        run.progress("measuring")(1, 10)
