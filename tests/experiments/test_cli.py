"""What holds for every command: help, ids that are cut short or unknown, errors of one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.store.base import Store

Call = Callable[..., Result]
Check = Callable[..., None]

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


class TestIds:
    def test_beginning_and_latest(self, call: Call, store: Store, spec: dict[str, Any], done: str) -> None:
        other = store.create_experiment("other", spec, 0).id
        assert json.loads(call("show", done[:8], "--json").stdout)["id"] == done
        assert json.loads(call("show", "latest", "--json").stdout)["id"] == other

    def test_ambiguous(self, call: Call, one_error: Check, store: Store, spec: dict[str, Any], done: str) -> None:
        other = store.create_experiment("digits-host", spec, 0).id
        one_error(call("show", "digits"), "'digits'", done, other)

    @pytest.mark.parametrize(
        "arguments", [("show",), ("logs",), ("front",), ("resume",), ("export", "--candidate", "0")]
    )
    def test_unknown(self, call: Call, one_error: Check, done: str, arguments: tuple[str, ...]) -> None:
        command, *rest = arguments
        one_error(call(command, f"{done[:-1]}x", *rest), f"did you mean '{done}'?")
        one_error(call(command, "", *rest), done)

    @pytest.mark.parametrize("command", ["show", "logs", "front", "resume"])
    def test_without_any_home(self, call: Call, one_error: Check, home: Path, command: str) -> None:
        one_error(call(command, "latest"), str(home), "bitfront run")
        assert not home.exists()

    def test_latest_of_none(self, call: Call, one_error: Check, store: Store) -> None:
        one_error(call("show", "latest"), "'latest'", "none")


class TestErrors:
    @pytest.fixture
    def bug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_: object) -> None:
            raise KeyError("a bug")

        monkeypatch.setattr("bitfront.experiments.details.details", crash)

    @pytest.mark.usefixtures("bug")
    def test_unexpected_is_one_line_and_its_traceback_is_kept(
        self, call: Call, one_error: Check, done: str, home: Path
    ) -> None:
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
    def test_crash_log_that_can_not_be_written(self, call: Call, one_error: Check, done: str, home: Path) -> None:
        (home / "crash.log").mkdir()
        one_error(call("show", done), "KeyError: 'a bug'", "--debug")

    def test_store_that_is_none(self, call: Call, one_error: Check, home: Path) -> None:
        home.mkdir()
        (home / "bitfront.sqlite").write_text("no database" * 1000)
        one_error(call("ls"), str(home), "BITFRONT_HOME")

    @pytest.mark.parametrize("arguments", [("ls",), ("show", "latest"), ("run", "spec.yaml")])
    def test_home_that_is_a_file(
        self, call: Call, one_error: Check, home: Path, spec_file: Path, arguments: tuple[str, ...]
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
