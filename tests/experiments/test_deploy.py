"""What is under deploy/ can be read by what it is for, and names what exists."""

import re
import shlex
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bitfront.experiments.cli import app
from bitfront.experiments.worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy").glob("*.service"))


COMMANDS: Any = get_command(app)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


class Unit(ConfigParser):
    """Systemd's keys have capitals."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(path: Path) -> ConfigParser:
    parser = Unit(strict=False, interpolation=None)
    parser.read(path)
    return parser


def check_command(words: list[str]) -> None:
    """A command of this program with options that it has."""
    known = {option for parameter in COMMANDS.commands[words[0]].params for option in parameter.opts}
    given = {word for word in words[1:] if word.startswith("--")}
    assert given <= known


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units(path: Path) -> None:
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).name == "bitfront"
    assert service["KillMode"] == "mixed"  # SIGTERM is for the parent alone
    assert service["User"] == "bitfront"
    if words[0] in COMMANDS.commands:
        check_command(words)


def test_the_worker_unit_names_a_command_that_exists() -> None:
    check_command(shlex.split(unit(ROOT / "deploy" / "bitfront-worker.service")["Service"]["ExecStart"])[1:])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_units(path: Path, tmp_path: Path) -> None:
    # The program is not installed where the unit says, which is no fault of the unit.
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/bitfront/bin/bitfront", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, path.name in done.stderr) == (0, False), done.stderr


def test_the_image_copies_what_is_installed_and_runs_a_command_that_exists() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for source in copied.split():
            assert (ROOT / source).exists(), source
    command = re.search(r"^CMD \[(.*)\]$", text, re.MULTILINE)
    assert command is not None
    check_command([word.strip(' "') for word in command[1].split(",")])
    assert re.search(r"^USER bitfront$", text, re.MULTILINE)
    assert "psycopg" in EXTRAS["postgres"][0]
    assert "'.[postgres]'" in text  # or BITFRONT_STORE could not name one


def test_who_stops_a_container_leaves_it_the_time_that_its_processes_are_given() -> None:
    longest = WorkerSettings().grace_seconds
    given = re.findall(r"(?:--stop-timeout|stop -t) (\d+)", (ROOT / "docs" / "operations.md").read_text())
    assert given
    assert min(map(int, given)) > longest
    for path in UNITS:
        assert int(unit(path)["Service"]["TimeoutStopSec"]) > longest
