"""The command line: what it prints where, with which exit code, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.commands import look
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.rows import front_rows
from bitfront.experiments.spec import load_spec
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import PredictorRecord
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import NumericalError

Call = Callable[..., Result]
Find = Callable[[Store, str], None]
RunExperiment = Callable[[Store, Path, str, Reporter], None]

COMMANDS = (
    "init",
    "run",
    "resume",
    "ls",
    "show",
    "logs",
    "front",
    "export",
    "predictor",
    "device",
    "bench",
    "doctor",
)
HEAVY = {
    "torch", "ray", "sklearn", "pandas", "sqlalchemy", "numpy", "scipy", "pymoo", "pydantic", "yaml",
    "matplotlib", "plotly", "onnx", "onnxruntime", "alembic", "safetensors",
}  # fmt: skip
DEAD = Owner(socket.gethostname(), 2**22 + 1, "no boot:0")


def one_error(result: Result, *words: str) -> str:
    """The only line on stderr, which is an error with these words; the exit code is 1 and stdout is empty."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    return line


def usage_error(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


@pytest.fixture
def done(store: Store, spec: dict[str, Any], find: Find) -> str:
    """A completed experiment."""
    one = store.create_experiment("digits-host", spec, 0).id
    store.claim(one)
    store.set_stage(one, "7 export")
    find(store, one)
    store.set_status(one, Status.COMPLETED)
    return one


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text("{name: digits-host, space: digits, data: digits, device: bitfusion, seed: 3}")
    return path


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunExperiment], None]:
    """Put a function in the place of the pipeline."""

    def replace(run_experiment: RunExperiment) -> None:
        module = ModuleType("bitfront.experiments.pipeline")
        module.run_experiment = run_experiment  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return replace


class TestHelp:
    def test_names_every_command_and_hides_what_is_not_for_people(self, call: Call) -> None:
        result = call("--help")
        assert result.exit_code == 0
        for command in COMMANDS:
            assert re.search(rf"^│ {command}\b", result.stdout, re.MULTILINE)
        assert "_work" not in result.stdout

    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_each_command(self, call: Call, command: str) -> None:
        result = call(command, "-h")
        assert result.exit_code == 0
        assert f"Usage: bitfront {command}" in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_loads_nothing_heavy(self) -> None:
        command = [sys.executable, "-X", "importtime", "-m", "bitfront.experiments.cli", "--help"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
        assert {"typer", "rich"} <= imported
        assert imported & HEAVY == set()

    def test_version(self, call: Call) -> None:
        assert re.fullmatch(r"bitfront \d+\.\d+\.\d+\n", call("--version").stdout)


class TestInit:
    def test_writes_a_spec_that_loads(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        result = call("init", path)
        assert (result.exit_code, result.stdout) == (0, "")
        assert load_spec(path).space.name == "digits"
        assert "#" in path.read_text()

    def test_refuses_to_overwrite(self, call: Call, tmp_path: Path) -> None:
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
        self, call: Call, store: Store, spec: dict[str, Any], resumed: list[str]
    ) -> None:
        one = store.create_experiment("one", spec, 0).id
        store.claim(one, DEAD)
        assert call("resume", one).exit_code == 0
        assert resumed == [one]

    def test_not_of_one_that_runs(
        self, call: Call, store: Store, spec: dict[str, Any], resumed: list[str]
    ) -> None:
        one = store.create_experiment("one", spec, 0).id
        store.claim(one)
        one_error(call("resume", one), one, "RUNNING", str(os.getpid()), "--follow")
        assert resumed == []

    def test_not_of_one_that_is_complete(self, call: Call, done: str, resumed: list[str]) -> None:
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


class TestLs:
    def test_newest_first_with_the_reason_of_failures(
        self, call: Call, store: Store, spec: dict[str, Any], done: str
    ) -> None:
        failed = store.create_experiment("bad", spec, 0).id
        store.claim(failed)
        store.set_status(failed, Status.FAILED, "no space left " * 20)
        result = call("ls")
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= 100
        assert lines[2].startswith(f"{failed}  ")
        assert "FAILED" in lines[2]
        assert "no space left" in result.stdout
        assert lines[-1].split()[:2] == [done, "COMPLETED"]

    def test_json_and_csv_and_nothing_else(self, call: Call, done: str) -> None:
        result = call("ls", "--json")
        (row,) = json.loads(result.stdout)
        assert (row["id"], row["status"], result.stderr) == (done, "COMPLETED", "")
        (line,) = csv.DictReader(io.StringIO(call("ls", "--csv").stdout))
        assert (line["id"], line["status"]) == (done, "COMPLETED")

    def test_of_one_status(self, call: Call, done: str) -> None:
        assert [row["id"] for row in json.loads(call("ls", "--status", "completed", "--json").stdout)] == [done]
        assert json.loads(call("ls", "--status", "FAILED", "--json").stdout) == []
        one_error(call("ls", "--status", "completd"), "'COMPLETED'")

    def test_more_than_a_page(
        self, call: Call, store: Store, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bitfront.experiments.commands.opened._PAGE", 2)
        ids = [store.create_experiment("one", spec, i).id for i in range(5)]
        assert [row["id"] for row in json.loads(call("ls", "--json").stdout)] == ids[::-1]

    def test_nothing_is_made_where_nothing_is(self, call: Call, home: Path) -> None:
        assert json.loads(call("ls", "--json").stdout) == []
        result = call("ls")
        assert (result.exit_code, result.stdout) == (0, "")
        assert str(home) in result.stderr
        assert not home.exists()

    def test_one_whose_process_died_is_interrupted(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        store.claim(store.create_experiment("one", spec, 0).id, DEAD)
        (row,) = json.loads(call("ls", "--json").stdout)
        assert row["status"] == "INTERRUPTED"
        assert str(DEAD.pid) in row["reason"]

    def test_one_form_at_a_time(self, call: Call) -> None:
        usage_error(call("ls", "--json", "--csv"), "--json", "--csv")


class TestShow:
    def test_for_programs(self, call: Call, store: Store, done: str, home: Path) -> None:
        values = json.loads(call("show", done, "--json").stdout)
        assert (values["id"], values["status"], values["seed"]) == (done, "COMPLETED", 0)
        assert values["spec"] == store.get(done).spec
        assert values["supernet"]["metrics"]["history"][-1]["loss"] == 0.25
        assert {one["kind"]: one["metrics"]["kendall_tau"] for one in values["predictors"]} == {
            "fp32": 0.71,
            "transferred": 0.83,
        }
        assert values["table"]["provenance"] == {"threads": 1}
        assert values["search"] == {
            "generations": 2, "evaluations": 6, "candidates": 6, "hypervolume": [0.4, 0.5],
            "reference": {"1 - top1": 0.44, "latency_ms": 1.1}, "islands": [],
        }  # fmt: skip
        assert values["front"] == {"measured": 3, "not_dominated": 2}
        assert values["exports"][0]["top1_test"] == 0.9375
        assert values["files"]["front.html"] == str(home / "experiments" / done / "front.html")

    def test_for_people(self, call: Call, done: str) -> None:
        result = call("show", done)
        assert result.exit_code == 0
        text = result.stdout
        for word in (done, "COMPLETED", "kendall_tau", "0.83", "epoch 2 · loss 0.25", "0.4 to 0.5", "front.html"):
            assert word in text
        assert "1 - top1 0.44 · latency_ms 1.1" in text
        assert max(map(len, text.splitlines())) <= 100

    def test_predictors_are_its_own(self, call: Call, store: Store, done: str) -> None:
        store.put_predictor(PredictorRecord("later", "net", "fp32", "p", {"kendall_tau": 0.1}))
        store.put_predictor(PredictorRecord("later too", "net", "transferred", "p", {"kendall_tau": 0.2}))
        found = json.loads(call("show", done, "--json").stdout)["predictors"]
        assert [one["id"] for one in found] == ["real", "moved"]

    def test_of_one_that_never_began(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        one = store.create_experiment("one", spec, 0).id
        assert "QUEUED" in call("show", one).stdout
        values = json.loads(call("show", one, "--json").stdout)
        assert (values["supernet"], values["predictors"], values["front"]["measured"]) == (None, [], 0)


class TestLogs:
    def test_prints_the_log(self, call: Call, done: str) -> None:
        assert call("logs", done).stdout == "2026-01-01T00:00:00+00:00 == 1 space ==\n"

    def test_of_one_that_has_none(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        one_error(call("logs", store.create_experiment("one", spec, 0).id), "no log yet", "QUEUED")

    def test_following_goes_on_to_the_end(
        self, call: Call, store: Store, spec: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look, "_POLL_SECONDS", 0.01)
        one = store.create_experiment("one", spec, 0).id
        store.claim(one)
        log = home / "experiments" / one / "log.txt"

        def works() -> None:
            log.parent.mkdir(parents=True)
            for part in ("first é".encode()[:-1], "é\nse".encode()[1:], b"cond\n"):
                with log.open("ab") as file:
                    file.write(part)
                time.sleep(0.05)
            store.set_status(one, Status.COMPLETED)

        worker = threading.Thread(target=works)
        worker.start()
        result = call("logs", one, "--follow")
        worker.join()
        assert result.stdout == "first é\nsecond\n"


class TestFront:
    def test_json_is_what_the_front_rows_are(self, call: Call, store: Store, done: str) -> None:
        rows = json.loads(json.dumps(front_rows(store, done)))
        assert json.loads(call("front", done, "--json", "--all").stdout) == rows
        assert json.loads(call("front", done, "--json").stdout) == [row for row in rows if not row["dominated"]]

    @pytest.mark.parametrize(
        ("where", "candidates"),
        [
            ("top1 >= 0.95", {0}),  # measured; predicted is 0.96
            ("top1 > 0.95", set()),
            ("predicted_top1 > 0.95", {0}),
            ("latency_ms <= 2", {0, 1}),  # measured for 0, only predicted for 1
            ("measured_latency_ms <= 2", {0}),
            ("top1_test < 0.9", {2}),
            ("size_bytes < 50000 and not latency_ms > 2", {1}),
        ],
    )
    def test_condition(self, call: Call, done: str, where: str, candidates: set[int]) -> None:
        result = call("front", done, "--where", where, "--json", "--all")
        assert {row["candidate"] for row in json.loads(result.stdout)} == candidates

    @pytest.mark.parametrize("where", ["__import__('os').getcwd()", "top1 >=", "top1", "top1 + 1 > 0", ""])
    def test_condition_that_is_none(self, call: Call, done: str, where: str) -> None:
        one_error(call("front", done, "--where", where), repr(where), "latency_ms <= 5")

    def test_condition_on_an_unknown_metric(self, call: Call, done: str) -> None:
        one_error(call("front", done, "--where", "latncy_ms < 3"), "'latncy_ms'", "'latency_ms'")

    def test_csv(self, call: Call, done: str) -> None:
        lines = list(csv.DictReader(io.StringIO(call("front", done, "--csv", "--all").stdout)))
        by_candidate = {line["candidate"]: line for line in lines}
        assert set(by_candidate) == {"0", "1", "2"}
        assert by_candidate["0"]["measured_top1_test"] == "0.94"
        assert by_candidate["1"]["measured_latency_ms"] == ""
        assert by_candidate["2"]["dominated"] == "True"
        assert by_candidate["0"]["predicted_size_bytes"] == "60000.0"

    def test_for_people(self, call: Call, done: str) -> None:
        text = call("front", done).stdout
        assert max(map(len, text.splitlines())) <= 100
        for word in ("0.9600", "0.9500", "0.9400", "1.5", "60.0", "1 more turned out to be dominated"):
            assert word in text
        assert "0.8900" not in text
        everything = call("front", done, "--all").stdout
        assert "0.8900" in everything
        assert re.search(r"^ +\*2 ", everything, re.MULTILINE)

    def test_nothing_measured_yet(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        one = store.create_experiment("one", spec, 0).id
        result = call("front", one)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no measured front yet: it is QUEUED" in result.stderr
        assert json.loads(call("front", one, "--json").stdout) == []

    def test_nothing_meets_the_condition(self, call: Call, done: str) -> None:
        result = call("front", done, "--where", "latency_ms < 0")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "latency_ms < 0" in result.stderr
        assert "--all" in call("front", done, "--where", "latency_ms > 2").stderr


class TestIds:
    def test_beginning_and_latest(self, call: Call, store: Store, spec: dict[str, Any], done: str) -> None:
        other = store.create_experiment("other", spec, 0).id
        assert json.loads(call("show", done[:8], "--json").stdout)["id"] == done
        assert json.loads(call("show", "latest", "--json").stdout)["id"] == other

    def test_ambiguous(self, call: Call, store: Store, spec: dict[str, Any], done: str) -> None:
        other = store.create_experiment("digits-host", spec, 0).id
        one_error(call("show", "digits"), "'digits'", done, other)

    @pytest.mark.parametrize(
        "arguments", [("show",), ("logs",), ("front",), ("resume",), ("export", "--candidate", "0")]
    )
    def test_unknown(self, call: Call, done: str, arguments: tuple[str, ...]) -> None:
        command, *rest = arguments
        one_error(call(command, f"{done[:-1]}x", *rest), f"did you mean '{done}'?")
        one_error(call(command, "", *rest), done)

    @pytest.mark.parametrize("command", ["show", "logs", "front", "resume"])
    def test_without_any_home(self, call: Call, home: Path, command: str) -> None:
        one_error(call(command, "latest"), str(home), "bitfront run")
        assert not home.exists()

    def test_latest_of_none(self, call: Call, store: Store) -> None:
        one_error(call("show", "latest"), "'latest'", "none")


class TestExport:
    def test_prints_the_path(
        self, call: Call, done: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[object, ...]] = []

        def export_candidate(store: Store, *arguments: object, **named: object) -> list[SimpleNamespace]:
            asked.append((*arguments, named))
            tested = SimpleNamespace(top1=0.9722, agreement=0.9944, why="")
            manifest = SimpleNamespace(
                forms=[SimpleNamespace(format="onnx", tested=tested)],
                left_out=[
                    SimpleNamespace(format="integer", why="its stem is fp32"),
                    SimpleNamespace(format="c", why="its stem is fp32"),
                    SimpleNamespace(format="torch", why="there is no torch"),
                ],
            )
            record = SimpleNamespace(path=str(tmp_path / "out" / "model.onnx"))
            return [SimpleNamespace(record=record, manifest=manifest, top1_fake_quant=0.975)]

        module = ModuleType("bitfront.experiments.stages.exporting")
        module.export_candidate = export_candidate  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        result = call("export", done, "--candidate", 1, "--format", "onnx", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{tmp_path / 'out' / 'model.onnx'}\n"
        assert "0.9722" in result.stderr
        assert "0.9750" in result.stderr
        assert "integer and c are left out: its stem is fp32" in result.stderr
        assert "torch is left out: there is no torch" in result.stderr
        assert asked[0][:5] == (home, done, 1, "onnx", tmp_path / "out")
        assert asked[0][6] is None  # as the spec says
        assert call("export", done, "--candidate", 1, "--finetune-epochs", 0).exit_code == 0
        assert call("export", done, "--candidate", 1, "--finetune-epochs", 2).exit_code == 0
        assert [arguments[6] for arguments in asked[1:]] == [0, 2]
        assert call("export", done, "--candidate", 1, "--device", "phone").exit_code == 0
        assert [arguments[7] for arguments in asked] == [None, None, None, "phone"]
        assert asked[0][8] == {"runtime": None, "samples": None}
        assert call("export", done, "--candidate", 1, "--runtime", "openvino", "--samples", 0).exit_code == 0
        assert asked[-1][8] == {"runtime": "openvino", "samples": 0}
        usage_error(call("export", done, "--candidate", 1, "--runtime", "tensorrt"), "--runtime")

    def test_unknown_candidate(self, call: Call, done: str) -> None:
        one_error(call("export", done, "--candidate", 77), "'77'", "Known are: 0, 1, 2")

    def test_unknown_format(self, call: Call, done: str) -> None:
        one_error(call("export", done, "--candidate", 0, "--format", "onxn"), "'onxn'", "'onnx'")

    def test_candidate_must_be_given_and_be_a_number(self, call: Call, done: str) -> None:
        usage_error(call("export", done), "--candidate")
        usage_error(call("export", done, "--candidate", "best"), "--candidate", "integer")


class TestErrors:
    @pytest.fixture
    def bug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_: object) -> None:
            raise KeyError("a bug")

        monkeypatch.setattr("bitfront.experiments.details.details", crash)

    @pytest.mark.usefixtures("bug")
    def test_unexpected_is_one_line_and_its_traceback_is_kept(self, call: Call, done: str, home: Path) -> None:
        one_error(call("show", done), "KeyError: 'a bug'", str(home / "crash.log"), "--debug")
        assert "Traceback" in (home / "crash.log").read_text()

    @pytest.mark.usefixtures("bug")
    def test_debugging_shows_the_traceback(self, call: Call, done: str, home: Path) -> None:
        result = call("--debug", "show", done)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("error: KeyError")
        assert not (home / "crash.log").exists()

    @pytest.mark.usefixtures("bug")
    def test_crash_log_that_can_not_be_written(self, call: Call, done: str, home: Path) -> None:
        (home / "crash.log").mkdir()
        one_error(call("show", done), "KeyError: 'a bug'", "--debug")

    def test_store_that_is_none(self, call: Call, home: Path) -> None:
        home.mkdir()
        (home / "bitfront.sqlite").write_text("no database" * 1000)
        one_error(call("ls"), str(home), "BITFRONT_HOME")

    @pytest.mark.parametrize("arguments", [("ls",), ("show", "latest"), ("run", "spec.yaml")])
    def test_home_that_is_a_file(
        self, call: Call, home: Path, spec_file: Path, arguments: tuple[str, ...]
    ) -> None:
        home.write_text("no folder")
        given = (str(spec_file) if argument == "spec.yaml" else argument for argument in arguments)
        one_error(call(*given), str(home), "BITFRONT_HOME")
        assert home.read_text() == "no folder"

    def test_interrupted_elsewhere(self, call: Call, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("bitfront.experiments.details.details", interrupted)
        result = call("show", done)
        assert (result.exit_code, result.stderr) == (130, "interrupted\n")
