"""A worker beside a server: a process that begins and ends with it, and is started again should it die."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bitfront.experiments.worker.pauses import Pause

END_SECONDS = 60.0
"""How long a worker that was told to end may take; it gives its children less."""

_WORKER = (sys.executable, "-m", "bitfront.experiments.cli", "worker")
_LOG = logging.getLogger(__name__)


@contextmanager
def beside(home: Path, command: Sequence[str] = _WORKER) -> Iterator[None]:
    """While a worker works on what is queued in ``home``.

    At the end it is stopped, and what runs goes on with the next one. Where this process is killed, the worker
    ends too and leaves its children running, which the next one counts as its own.
    """
    ended = threading.Event()
    process = [_start(home, command)]
    watch = threading.Thread(target=_watch, args=(home, command, process, ended), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        _stop(process[0])


def _start(home: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BITFRONT_HOME": str(home)},
        start_new_session=True,  # Ctrl-C is for the server, which then stops the worker
    )


def _watch(
    home: Path, command: Sequence[str], process: list[subprocess.Popen[bytes]], ended: threading.Event
) -> None:
    pause = Pause(1.0)
    while not ended.wait(0.2):
        if process[0].poll() is None:
            continue
        _LOG.error("the worker ended with exit code %s: started again", process[0].returncode)
        pause.failed()
        if ended.wait(pause.seconds):
            return
        try:
            process[0] = _start(home, command)
        except OSError as error:  # no memory, or no process more; looked at again, as it is still none that runs
            _LOG.error("can not start a worker: %s", error.strerror or error)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
