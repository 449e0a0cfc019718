"""Work that takes long, or reads what strangers sent: `bitfront` commands in processes of their own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from prometheus_client import Gauge

from bitfront.experiments.service.refusals import RateLimitError
from bitfront.supernet.errors import BitfrontError

_ERROR = re.compile(r"^error: (.*)", re.DOTALL | re.MULTILINE)
_MOST_KEPT = 1000
_LOOK_SECONDS = 0.1


class JobError(BitfrontError):
    """A command that the service ran for somebody failed; the message is its own."""


@dataclass(slots=True)
class Job:
    """A command in progress or done: ``error`` is empty until it failed."""

    done: threading.Event
    error: str = ""


class Jobs:
    """Runs commands, a few at once.

    Args:
        home: given to the commands as BITFRONT_HOME.
        most: commands at once.
        seconds: after so long a command is ended.
        memory: bytes of address space of a command that reads what was sent.
        gauge: shows how many there are.
    """

    def __init__(self, home: Path, most: int, seconds: float, memory: int, gauge: Gauge) -> None:
        self._home, self._seconds, self._memory, self._gauge = home, seconds, memory, gauge
        self._places = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], Job] = {}
        self._processes: set[subprocess.Popen[str]] = set()

    def start(self, key: tuple[str, ...], arguments: Sequence[str]) -> Job:
        """Run a command in the background; asked again with the key of one in progress, that one is meant.

        Raises:
            RateLimitError: as many as may are in progress.
        """
        with self._lock:
            known = self._known.get(key)
            if known is not None and not known.done.is_set():
                return known
            self._take_place()
            job = self._known[key] = Job(threading.Event())
            self._forget()
        threading.Thread(target=self._work, args=(job, arguments), daemon=True).start()
        return job

    def find(self, key: tuple[str, ...]) -> Job | None:
        """The newest job of a key; None where there was none, or it is long ago."""
        with self._lock:
            return self._known.get(key)

    def run(self, arguments: Sequence[str]) -> str:
        """Run a command with limited memory and wait for it; returns its stdout.

        Raises:
            RateLimitError: as many as may are in progress.
            JobError: it failed.
        """
        self._take_place()
        try:
            return self._command(arguments, self._memory)
        finally:
            self._places.release()

    def close(self) -> None:
        """End what is in progress."""
        with self._lock:
            processes = tuple(self._processes)
        for process in processes:
            process.terminate()

    def _take_place(self) -> None:
        if not self._places.acquire(blocking=False):
            raise RateLimitError(
                "as many exports and imports as may are in progress",
                "come back in 5 s",
                headers={"Retry-After": "5"},
            )

    def _forget(self) -> None:
        over = [key for key, job in self._known.items() if job.done.is_set()]
        for key in over[: max(0, len(self._known) - _MOST_KEPT)]:
            del self._known[key]

    def _work(self, job: Job, arguments: Sequence[str]) -> None:
        try:
            self._command(arguments, None)
        except BitfrontError as error:
            job.error = str(error)
        except Exception as error:
            job.error = f"{type(error).__name__}: the command could not be run"
            raise
        finally:
            self._places.release()
            job.done.set()

    def _command(self, arguments: Sequence[str], memory: int | None) -> str:
        with self._started(arguments, memory) as process:
            try:
                out, err = process.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise JobError(f"it took longer than {self._seconds:.0f} s: give it less to do") from None
        if process.returncode:
            raise JobError(_told(err, process.returncode))
        return out

    @contextmanager
    def _started(self, arguments: Sequence[str], memory: int | None) -> Iterator[subprocess.Popen[str]]:
        with (
            self._gauge.track_inprogress(),
            subprocess.Popen(
                [sys.executable, "-m", "bitfront.experiments.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, "BITFRONT_HOME": str(self._home), "BITFRONT_DEBUG": "0"},
            ) as process,
        ):
            if memory is not None:
                resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
            with self._lock:
                self._processes.add(process)
            try:
                yield process
            finally:
                with self._lock:
                    self._processes.discard(process)


async def until_done(job: Job, seconds: float) -> None:
    """Wait for a job at most so long, without a thread that waits."""
    with anyio.move_on_after(seconds):
        while not job.done.is_set():
            await anyio.sleep(_LOOK_SECONDS)


def _told(err: str, code: int) -> str:
    """What a command said of its failure; nothing of it where nobody expected it."""
    found = _ERROR.search(err)
    if found is None or "did not expect this" in found[1]:
        return f"the command ended with code {code}: see the service's log"
    return found[1].strip()
