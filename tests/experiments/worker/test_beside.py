"""A worker that lives as long as the server beside it."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bitfront.experiments.worker.beside import beside

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
