"""Bad input at the real command line: one clear error names the value and the fix, and nothing is launched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status

SPEC = "{name: digits-host, space: digits, data: digits, device: bitfusion}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one experiment, which failed before it had a front."""
    folder = tmp_path_factory.mktemp("cli") / "home"
    spec = spec_from({"name": "digits-host", "space": "digits", "data": "digits", "device": "bitfusion"})
    with open_store(folder) as store:
        one = store.create_experiment(spec.name, spec.model_dump(mode="json"), spec.seed).id
        store.claim(one)
        store.set_status(one, Status.FAILED, "for this test")
    return folder


def bitfront(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bitfront.experiments.cli", *arguments],
        env={**os.environ, "BITFRONT_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def experiments(home: Path) -> int:
    with open_store(home) as store:
        return len(store.list_experiments().items)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "digits-hots"), ("'digits-hots'", "did you mean 'digits-host-")),
        (("ls", "--status", "runing"), ("'RUNING'", "'RUNNING'")),
        (("front", "latest", "--where", "latncy_ms <= 2"), ("'latncy_ms'", "'latency_ms'")),
        (("front", "latest", "--where", "open('x')"), ("open('x')", "top1 >= 0.9")),
        (("export", "latest", "--candidate", "3"), ("candidate", "'3'", "none")),
        (("bench", "transfr"), ("'transfr'", "'transfer'")),
        (("logs", "latest"), ("no log yet", "FAILED")),
    ],
)
def test_unknown(home: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = bitfront(home, *arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fornt", "latest"), ("'fornt'", "'front'")),
        (("ls", "--jsn"), ("--jsn", "--json")),
        (("front",), ("ID",)),
        (("bench", "transfer", "--seeds", "many"), ("--seeds", "integer")),
        (("export", "latest", "--candidate", "1.5"), ("--candidate", "integer")),
    ],
)
def test_unreadable_command_line(home: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = bitfront(home, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SPEC.replace("bitfusion", "bitfuson"), ("device", "'bitfuson'", "'bitfusion'")),
        (SPEC.replace("space:", "spcae:"), ("spcae", "'space'")),
        (SPEC.replace("}", ", constraints: ['latency_ms << 2']}"), ("constraints[0]", "latency_ms << 2")),
        (None, ("spec.yaml",)),
    ],
)
def test_spec(home: Path, tmp_path: Path, text: str | None, words: tuple[str, ...]) -> None:
    path = tmp_path / "spec.yaml"
    if text is not None:
        path.write_text(text)
    before = experiments(home)
    ran = bitfront(home, "run", str(path))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr
    assert experiments(home) == before


def test_home_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.write_text("no folder")
    ran = bitfront(path, "ls")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"error: {path} is no folder")
    assert path.read_text() == "no folder"


def test_spec_file_that_can_not_be_written(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = bitfront(home, "init", str(tmp_path / "file" / "spec.yaml"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert str(tmp_path / "file" / "spec.yaml") in ran.stderr
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr


def test_closed_pipe_is_no_crash(home: Path) -> None:
    command = f"{sys.executable} -m bitfront.experiments.cli show latest | head -1"
    ran = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "BITFRONT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ran.stdout.startswith("digits-host-")
    assert "Traceback" not in ran.stderr
    assert "error" not in ran.stderr
