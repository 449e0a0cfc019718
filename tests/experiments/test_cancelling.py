"""Cancelling, at a command line that a worker works beside."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments import pipeline
from bitfront.experiments.cancelling import cancel
from bitfront.experiments.commands import look
from bitfront.experiments.spec_template import template
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.roster import living_workers

Call = Callable[..., Result]


class TestCancel:
    @pytest.mark.parametrize(
        ("way", "after"),
        [
            ([], Status.CANCELLED),
            ([Status.RUNNING], Status.CANCELLING),
            ([Status.RUNNING, Status.CANCELLING], Status.CANCELLING),
            ([Status.RUNNING, Status.INTERRUPTED], Status.CANCELLED),
            ([Status.CANCELLED], Status.CANCELLED),
        ],
    )
    def test_by_status(self, store: Store, way: list[Status], after: Status) -> None:
        one = store.create_experiment("one", {}, 0).id
        for status in way:
            _bring(store, one, status)
        assert cancel(store, one).status is after
        assert cancel(store, one).status is after

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
    def test_not_what_has_ended(self, store: Store, status: Status) -> None:
        one = store.create_experiment("one", {}, 0).id
        store.claim(one)
        store.set_status(one, status)
        with pytest.raises(StatusError, match=status):
            cancel(store, one)

    def test_one_that_is_claimed_in_between(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        one = store.create_experiment("one", {}, 0).id
        as_it_was = store.get(one)
        store.claim(one)
        seen = iter([as_it_was])
        inner = store.get
        monkeypatch.setattr(store, "get", lambda name: next(seen, None) or inner(name))
        assert cancel(store, one).status is Status.CANCELLING

    def test_command(self, call: Call, store: Store) -> None:
        one = store.create_experiment("one", {}, 0).id
        result = call("cancel", "latest")
        assert (result.exit_code, result.stderr) == (0, f"{one} is CANCELLED\n")
        assert call("cancel", "nobody").exit_code == 1


class TestBesideAWorker:
    @pytest.fixture
    def spec_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(template())
        return path

    def test_an_experiment_is_left_to_it(self, call: Call, spec_file: Path) -> None:
        result = call("run", spec_file, "--queue")
        assert result.exit_code == 0, result.output
        with open_store() as store:
            one = store.get(result.stdout.strip())
            assert one.status is Status.QUEUED
            store.set_status(one.id, Status.CANCELLED)
            assert call("resume", one.id, "--queue").exit_code == 0
            assert store.get(one.id).status is Status.QUEUED

    def test_one_that_it_took_first_is_followed(
        self, call: Call, spec_file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look, "_POLL_SECONDS", 0.01)

        def taken(store: Store, where: Path, experiment_id: str, reporter: Any) -> None:
            log = where / "experiments" / experiment_id / "log.txt"
            log.parent.mkdir(parents=True)
            log.write_text("worked elsewhere\n")
            store.claim(experiment_id, Owner("elsewhere", 1, "then"))
            inner = store.get
            looks = iter(range(3))

            def get(name: str) -> Any:
                if next(looks, None) is None and inner(name).status.is_held:
                    store.set_status(name, Status.FAILED, "over there")
                return inner(name)

            monkeypatch.setattr(store, "get", get)
            store.claim(experiment_id)

        monkeypatch.setattr(pipeline, "run_experiment", taken)
        result = call("run", spec_file)
        assert result.exit_code == 1
        assert "a worker took" in result.stderr
        assert "worked elsewhere" in result.stdout
        assert result.stderr.endswith("ended FAILED: over there\n")

    @pytest.mark.usefixtures("loggers_as_before")
    def test_once_in_an_empty_home(self, call: Call, home: Path) -> None:
        home.mkdir()
        result = call("worker", "--once", "--log-format", "json")
        assert result.exit_code == 0, result.output
        assert living_workers(home) == []

    @pytest.mark.parametrize("option", [("--slots", 0), ("--poll", 0), ("--grace", -1)])
    def test_bad_options(self, call: Call, option: tuple[str, int]) -> None:
        assert call("worker", "--once", *option).exit_code in (1, 2)


def _bring(store: Store, one: str, status: Status) -> None:
    if status is Status.RUNNING:
        store.claim(one, Owner("elsewhere", os.getpid(), "then"))
    else:
        store.set_status(one, status)
