"""What may go goes, and nothing else."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.home import store_url
from bitfront.experiments.store.records import utc_now
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.upkeep.pruning import delete_files, prunable, prune
from bitfront.supernet.errors import StorageError

Call = Callable[..., Result]
Find = Callable[[Store, str], None]


def in_days(days: float) -> datetime:
    return utc_now() + timedelta(days=days)


@pytest.fixture
def ended(store: Store, spec: dict[str, Any], find: Find) -> dict[Status, str]:
    """One experiment of each status, all with candidates."""
    found = {}
    for status in Status:
        one = store.create_experiment(str(status), spec, 0).id
        store.claim(one)
        find(store, one)
        found[status] = one
        if status is Status.CANCELLED:
            store.set_status(one, Status.CANCELLING)
        if status is Status.QUEUED:
            store.set_status(one, Status.FAILED)
        if status is not Status.RUNNING:
            store.set_status(one, status)
    return found


def test_candidates_of_what_completed(store: Store, home: Path, ended: dict[Status, str]) -> None:
    found = prunable(store, home, in_days(31), 30, None)
    assert [(one.experiment_id, one.what) for one in found] == [(ended[Status.COMPLETED], "candidates")]
    before = store.count_candidates(ended[Status.COMPLETED])
    front = store.front(ended[Status.COMPLETED])
    prune(store, home, found, lambda done, total: None)
    assert store.count_candidates(ended[Status.COMPLETED]) == before - found[0].candidates
    assert found[0].candidates == 3  # of 6: the front's are measured too
    assert store.front(ended[Status.COMPLETED]) == front
    assert prunable(store, home, in_days(31), 30, None) == []


def test_whole_experiments_with_their_files(store: Store, home: Path, ended: dict[Status, str]) -> None:
    found = prunable(store, home, in_days(31), 1, 30)
    gone = {ended[status] for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)}
    assert {one.experiment_id for one in found} == gone
    assert {one.what for one in found} == {"experiment"}
    assert min(one.size_bytes for one in found) > 0
    prune(store, home, found, lambda done, total: None)
    left = {one.id for one in store.list_experiments().items}
    assert left == set(ended.values()) - gone
    assert {path.name for path in (home / "experiments").iterdir()} == left
    assert store.supernet("net") is not None


def test_nothing_that_is_young(store: Store, home: Path, ended: dict[Status, str]) -> None:
    assert prunable(store, home, in_days(29), 30, 30) == []
    assert prunable(store, home, in_days(-400), 30, 30) == []  # the clock moved back


@pytest.mark.parametrize(("candidates", "experiments"), [(30, None), (None, 30)])
def test_what_was_resumed_in_between_is_left_whole(
    store: Store, home: Path, ended: dict[Status, str], candidates: float | None, experiments: float | None
) -> None:
    """Found, and then resumed and waiting for a worker: its status is not what it was found with."""
    status = Status.FAILED if experiments else Status.COMPLETED
    found = [
        one
        for one in prunable(store, home, in_days(31), candidates, experiments)
        if one.experiment_id == ended[status]
    ]
    if status is Status.FAILED:
        store.set_status(ended[status], Status.QUEUED)
    else:  # which a COMPLETED one can not be, but another that was read as one
        found = [replace(found[0], experiment_id=ended[Status.FAILED])]
    with pytest.raises(StatusError, match="any more"):
        prune(store, home, found, lambda done, total: None)
    kept = store.get(found[0].experiment_id)
    assert (kept.forgotten, store.count_candidates(kept.id)) == (0, 6)
    assert (home / "experiments" / kept.id / "log.txt").exists()


def test_files_that_can_not_be_deleted_are_told_of(
    store: Store, home: Path, ended: dict[Status, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, **_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    found = prunable(store, home, in_days(31), None, 30)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError, match=r"Operation not permitted\. Delete that folder") as caught:
            prune(store, home, found, lambda done, total: None)
    assert str(home / "experiments" / found[0].experiment_id) in str(caught.value)
    delete_files(home, found[0].experiment_id)
    assert not (home / "experiments" / found[0].experiment_id).exists()
    delete_files(home, found[0].experiment_id)  # nothing is left to do


class TestCommand:
    def test_a_dry_run_changes_nothing(self, call: Call, store: Store, ended: dict[Status, str]) -> None:
        result = call("prune", "--experiments", 0, "--dry-run", "--json")
        assert result.exit_code == 0, result.output
        assert len(json.loads(result.stdout)) == 3
        assert "would go: 3 experiments" in result.stderr
        assert len(store.list_experiments().items) == len(Status)
        assert ended[Status.FAILED] in call("prune", "--experiments", 0, "--dry-run").stdout

    def test_it_does_what_it_said(self, call: Call, store: Store, ended: dict[Status, str]) -> None:
        assert "gone: 0 experiments, 3 candidates" in call("prune", "--candidates", 0).stderr
        assert "gone: 3 experiments" in call("prune", "--experiments", 0).stderr
        assert len(store.list_experiments().items) == len(Status) - 3

    def test_says_what_it_needs(self, call: Call, ended: dict[Status, str]) -> None:
        assert call("prune").exit_code == 2
        assert call("prune", "--candidates", -1).exit_code == 2


def test_database_commands(call: Call, home: Path) -> None:
    assert "no database yet" in call("db", "status").stdout
    assert not home.exists()
    assert call("db", "upgrade").exit_code == 0
    state = json.loads(call("db", "status", "--json").stdout)
    assert state["at"] == state["newest"]
    assert call("db", "status").stdout.startswith(f"the database is at migration {state['newest']}")


class TestDatabaseUrl:
    @pytest.mark.parametrize("given", ["no url", "postgresql//x:secret@h"])
    def test_no_url(self, call: Call, home: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
        monkeypatch.setenv("BITFRONT_STORE", given)
        result = call("db", "status")
        assert result.exit_code == 1
        assert "BITFRONT_STORE" in result.stderr
        assert "secret" not in result.output

    def test_it_is_of_the_home_alone(self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BITFRONT_STORE", "postgresql://h/one")
        assert store_url().get_backend_name() == "postgresql"
        assert store_url(home).get_backend_name() == "postgresql"
        assert store_url(tmp_path / "other").get_backend_name() == "sqlite"

    def test_a_home_is_not_put_back_under_it(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BITFRONT_STORE", "postgresql://h/one")
        (tmp_path / "x.tar").touch()
        assert "pg_restore" in call("restore", tmp_path / "x.tar").stderr
