"""`bitfront init`, `run` and `resume`: experiments begin and go on, here or detached."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import load_spec
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import NumericalError

Call = Callable[..., Result]
Check = Callable[..., None]
Find = Callable[[Store, str], None]
RunExperiment = Callable[[Store, Path, str, Reporter], None]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunExperiment], None]:
    """Put a function in the place of the pipeline."""

    def replace(run_experiment: RunExperiment) -> None:
        module = ModuleType("bitfront.experiments.pipeline")
        module.run_experiment = run_experiment  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return replace


class TestInit:
    def test_writes_a_spec_that_loads(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        result = call("init", path)
        assert (result.exit_code, result.stdout) == (0, "")
        assert load_spec(path).space.name == "digits"
        assert "#" in path.read_text()

    def test_refuses_to_overwrite(self, call: Call, one_error: Check, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("precious")
        one_error(call("init", path), str(path), "--force")
        assert path.read_text() == "precious"
        assert call("init", path, "--force").exit_code == 0
        assert load_spec(path).space.name == "digits"


class TestRun:
    def test_prints_the_id_then_works_then_shows_what_it_found(
        self, call: Call, pipeline: Callable[[RunExperiment], None], find: Find, home: Path, spec_file: Path
    ) -> None:
        def works(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            assert where == home
            store.claim(experiment_id)
            reporter.stage("1 space")
            reporter.progress("measuring")(3, 3)
            find(store, experiment_id)
            store.set_status(experiment_id, Status.COMPLETED)

        pipeline(works)
        result = call("run", spec_file)
        assert result.exit_code == 0, result.output
        experiment_id, *ending = result.stdout.splitlines()
        with open_store() as store:
            experiment = store.get(experiment_id)
        assert (experiment.name, experiment.seed) == ("digits-host", 3)
        assert experiment.spec == load_spec(spec_file).model_dump(mode="json")
        text = "\n".join(ending)
        assert "fp32 predictor: Kendall tau 0.710" in text
        assert "transferred predictor: Kendall tau 0.830" in text
        assert str(home / "experiments" / experiment_id / "front.html") in text
        assert "model.onnx (test top1 0.9375)" in text
        assert "0.9500" in text  # of candidate 0
        assert "0.8900" not in text  # of candidate 2, which is dominated
        assert "1 space" in result.stderr
        assert "measuring: 3 of 3" in result.stderr
        assert "1 space" not in result.stdout

    def test_another_name(self, call: Call, pipeline: Callable[[RunExperiment], None], spec_file: Path) -> None:
        pipeline(lambda store, home, experiment_id, reporter: None)
        assert call("run", spec_file, "--name", "Second Try").stdout.startswith("second-try-")

    def test_failure_is_one_line(
        self, call: Call, pipeline: Callable[[RunExperiment], None], spec_file: Path, home: Path
    ) -> None:
        def fails(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            error = NumericalError("the loss of epoch 3 is nan: lower supernet.learning_rate")
            error.add_note("nor could it be stored")
            raise error

        pipeline(fails)
        result = call("run", spec_file)
        assert result.exit_code == 1
        assert result.stderr == (
            "error: the loss of epoch 3 is nan: lower supernet.learning_rate\nnor could it be stored\n"
        )
        assert not (home / "crash.log").exists()

    def test_interruption_says_how_to_go_on(
        self, call: Call, pipeline: Callable[[RunExperiment], None], spec_file: Path, tmp_path: Path
    ) -> None:
        def interrupted(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            raise KeyboardInterrupt

        pipeline(interrupted)
        result = call("run", spec_file)
        assert result.exit_code == 130
        assert f"'bitfront resume {result.stdout.strip()}'" in result.stderr
        elsewhere = call("--home", tmp_path / "other", "run", spec_file)
        assert f"'bitfront --home {tmp_path / 'other'} resume {elsewhere.stdout.strip()}'" in elsewhere.stderr

    def test_terminated_is_interrupted(
        self, call: Call, pipeline: Callable[[RunExperiment], None], spec_file: Path
    ) -> None:
        def terminated(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            os.kill(os.getpid(), 15)
            time.sleep(5)

        pipeline(terminated)
        assert call("run", spec_file).exit_code == 130

    def test_cancelled_is_no_success(
        self, call: Call, pipeline: Callable[[RunExperiment], None], spec_file: Path
    ) -> None:
        def cancelled(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            store.set_status(experiment_id, Status.CANCELLED, "somebody asked")

        pipeline(cancelled)
        result = call("run", spec_file)
        assert result.exit_code == 1
        assert result.stderr.endswith("ended CANCELLED: somebody asked\n")

    def test_detached(self, call: Call, spec_file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[tuple[list[str], dict[str, Any]]] = []

        def popen(command: list[str], **options: Any) -> SimpleNamespace:
            started.append((command, options))
            return SimpleNamespace(pid=1)

        monkeypatch.setattr(subprocess, "Popen", popen)
        result = call("run", spec_file, "--detach")
        assert result.exit_code == 0
        experiment_id = result.stdout.strip()
        assert f"'bitfront logs {experiment_id} --follow'" in result.stderr
        ((command, options),) = started
        assert command == [sys.executable, "-m", "bitfront.experiments.cli", "_work", experiment_id]
        assert options["start_new_session"]
        assert options["env"]["BITFRONT_HOME"] == str(home)
        assert options["stdout"].name == str(home / "experiments" / experiment_id / "log.txt")

    def test_bad_spec_launches_nothing(self, call: Call, tmp_path: Path, home: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text("{space: digits, data: digits, device: bitfusion, serach: {population: 3}}")
        result = call("run", path)
        assert result.exit_code == 1
        assert "serach" in result.stderr
        assert "'search'" in result.stderr
        assert not home.exists()


class TestResume:
    @pytest.fixture
    def resumed(self, pipeline: Callable[[RunExperiment], None], find: Find) -> list[str]:
        """Which experiments were worked on."""
        ids: list[str] = []

        def works(store: Store, where: Path, experiment_id: str, reporter: Reporter) -> None:
            store.claim(experiment_id)
            ids.append(experiment_id)
            find(store, experiment_id)
            store.set_status(experiment_id, Status.COMPLETED)

        pipeline(works)
        return ids

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.FAILED, Status.INTERRUPTED])
    def test_of_what_stands_still(
        self, call: Call, store: Store, spec: dict[str, Any], resumed: list[str], status: Status
    ) -> None:
        one = store.create_experiment("one", spec, 0).id
        if status is not Status.QUEUED:
            store.claim(one)
            store.set_status(one, status, "a reason")
        result = call("resume", one)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[0] == one
        assert resumed == [one]

    def test_of_one_whose_process_died(
        self, call: Call, dead: Owner, store: Store, spec: dict[str, Any], resumed: list[str]
    ) -> None:
        one = store.create_experiment("one", spec, 0).id
        store.claim(one, dead)
        assert call("resume", one).exit_code == 0
        assert resumed == [one]

    def test_not_of_one_that_runs(
        self, call: Call, one_error: Check, store: Store, spec: dict[str, Any], resumed: list[str]
    ) -> None:
        one = store.create_experiment("one", spec, 0).id
        store.claim(one)
        one_error(call("resume", one), one, "RUNNING", str(os.getpid()), "--follow")
        assert resumed == []

    def test_not_of_one_that_is_complete(
        self, call: Call, one_error: Check, done: str, resumed: list[str]
    ) -> None:
        one_error(call("resume", done), done, "COMPLETED", f"bitfront front {done}")
        assert resumed == []


class TestDetachedProcess:
    def test_outlives_its_caller_and_writes_to_the_log(self, call: Call, done: str, home: Path) -> None:
        from bitfront.experiments.commands.detached import start_detached

        start_detached(home, done)
        log = home / "experiments" / done / "log.txt"
        deadline = time.monotonic() + 60
        while "error: " not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        # It found that there is nothing to do, which is all it can find without training a network.
        assert f"error: experiment '{done}' is COMPLETED" in log.read_text()
