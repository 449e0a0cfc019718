"""Whatever befalls workers and children: no experiment is lost, none runs twice, all end as undisturbed ones."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.concluding import DRAINED
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status

_HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stand_in", _HERE / "stand_in.py")
assert _SPEC is not None
assert _SPEC.loader is not None
stand_in = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stand_in)


def befall(name: str, home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(_HERE / "trouble.py"), name, str(home)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def undisturbed(folder: Path, spec: dict[str, Any], seed: int) -> list[Any]:
    with open_store(folder) as store:
        experiment = store.create_experiment("one", {**spec, "seconds": 0.0}, seed)
        store.claim(experiment.id)
        stand_in.search(store, folder, experiment)
        found: list[Any] = stand_in.front(store, experiment.id)
        return found


def only(store: Store) -> Experiment:
    (one,) = store.list_experiments().items
    return one


@pytest.mark.slow
def test_killed_twenty_times_ends_as_if_undisturbed(tmp_path: Path) -> None:
    spec = {"generations": 60, "seconds": 0.1}
    with open_store(tmp_path / "home") as store:
        experiment = store.create_experiment("one", spec, 5)
        happened = befall("kills", tmp_path / "home")
        assert happened["worker"] + happened["child"] == 20
        assert min(happened["worker"], happened["child"]) >= 5
        assert happened["exit"] == 0
        assert only(store).status is Status.COMPLETED
        assert stand_in.front(store, experiment.id) == undisturbed(tmp_path / "calm", spec, 5)


@pytest.mark.slow
def test_two_workers_racing_run_each_of_200_once(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        names = [store.create_experiment("one", {"generations": 1}, i).id for i in range(200)]
        assert befall("race", tmp_path)["exits"] == [0, 0]
        for name in names:
            assert store.get(name).status is Status.COMPLETED
            # A second run would find the first one's generation and say that it is complete once more.
            log = (tmp_path / "experiments" / name / "log.txt").read_text()
            assert [line.split(" ", 1)[1] for line in log.splitlines()] == ["completed"]


def test_a_worker_that_is_stopped_leaves_its_experiment_to_the_next(tmp_path: Path) -> None:
    spec = {"generations": 40, "seconds": 0.05}
    with open_store(tmp_path / "home") as store:
        experiment = store.create_experiment("one", spec, 3)
        happened = befall("drained", tmp_path / "home")
        assert happened == {"exit": 0, "status": "INTERRUPTED", "reason": DRAINED, "workers": 0, "next": 0}
        assert only(store).status is Status.COMPLETED
        assert stand_in.front(store, experiment.id) == undisturbed(tmp_path / "calm", spec, 3)


def test_a_child_that_hears_nothing_is_killed_and_its_experiment_cancelled(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.create_experiment("one", {"generations": 2, "seconds": 60.0, "deaf": True}, 0)
        happened = befall("deaf", tmp_path)
        assert happened["exit"] == 0
        assert happened["seconds"] < 20
        assert only(store).status is Status.CANCELLED


def test_children_of_a_killed_worker_go_on_and_are_counted_by_the_next(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for seed in range(2):
            store.create_experiment("one", {"generations": 20, "seconds": 0.05}, seed)
        happened = befall("orphans", tmp_path)
        assert happened["exit"] == 0
        assert happened["in turn"]
        assert "worker:" not in happened["log"]  # nobody took its process for dead
        assert {one.status for one in store.list_experiments().items} == {Status.COMPLETED}
