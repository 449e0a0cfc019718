"""A real ``bitfront serve`` with its worker, told to end as systemd and Docker tell it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from bitfront.experiments.store.home import open_store
from bitfront.experiments.worker.roster import living_workers


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def start(home: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bitfront.experiments.cli", "serve", "--port", str(port)],
        env={**os.environ, "BITFRONT_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_both_work(home: Path, port: int, process: subprocess.Popen[str]) -> int:
    """Until the server answers and the worker is heard of; returns the worker's pid."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            if found := living_workers(home):
                return found[0].owner.pid
        time.sleep(0.1)
    raise AssertionError("server and worker did not begin")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_its_worker_ends_with_it_and_the_store_is_closed(tmp_path: Path, number: signal.Signals) -> None:
    with open_store(tmp_path):
        pass
    port = free_port()
    process = start(tmp_path, port)
    try:
        worker = wait_until_both_work(tmp_path, port, process)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, told
    assert "Traceback" not in told
    assert not Path(f"/proc/{worker}").exists()
    assert not list((tmp_path / "workers").iterdir())  # it said goodbye, and was not killed
    assert not list(tmp_path.glob("bitfront.sqlite-*"))  # whoever closes the store last leaves no log beside it
