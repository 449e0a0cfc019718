"""A worker that lives as long as the server beside it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from bitfront.experiments.worker.beside import beside

module = import_module("bitfront.experiments.worker.beside")

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
assert sys.argv[1] == "--parent" and int(sys.argv[2]) == os.getppid()
home = Path(os.environ["BITFRONT_HOME"])
signal.signal(signal.SIGTERM, lambda *_: ((home / f"{os.getpid()}.ended").touch(), sys.exit(0)))
(home / f"{os.getpid()}.begun").touch()
while True:
    time.sleep(0.05)
"""


def wait_for(found: Callable[[], list[Path]], count: int) -> list[Path]:
    until = time.monotonic() + 60
    while len(found()) < count:
        assert time.monotonic() < until
        time.sleep(0.02)
    return found()


def test_it_is_started_again_when_it_dies_and_stopped_in_the_end(tmp_path: Path) -> None:
    def begun() -> list[Path]:
        return sorted(tmp_path.glob("*.begun"), key=lambda path: path.stat().st_mtime_ns)

    with beside(tmp_path, (sys.executable, "-S", "-c", SCRIPT)):
        (first,) = wait_for(begun, 1)
        os.kill(int(first.stem), signal.SIGKILL)
        second = wait_for(begun, 2)[-1]
        assert not list(tmp_path.glob("*.ended"))
    assert [path.stem for path in tmp_path.glob("*.ended")] == [second.stem]
    assert not Path(f"/proc/{second.stem}").exists()


def test_a_machine_without_room_for_a_process_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inner: Callable[[Path, Sequence[str]], subprocess.Popen[bytes]] = module._start
    refused: list[Path] = []

    def start(home: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
        if 0 < len(refused) < 3:
            refused.append(home)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return inner(home, command)

    monkeypatch.setattr(module, "_start", start)
    monkeypatch.setattr(module.Pause, "seconds", 0.01)

    def begun() -> list[Path]:
        return list(tmp_path.glob("*.begun"))

    with beside(tmp_path, (sys.executable, "-S", "-c", SCRIPT)):
        (first,) = wait_for(begun, 1)
        refused.append(tmp_path)
        os.kill(int(first.stem), signal.SIGKILL)
        wait_for(begun, 2)
    assert len(refused) == 3
    assert caplog.text.count("can not start a worker: Resource temporarily unavailable") == 2
    assert len(list(tmp_path.glob("*.ended"))) == 1
