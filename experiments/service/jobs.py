"""Work that takes long, or reads what strangers sent: `bitfront` commands in processes of their own."""

from __future__ import annotations

import errno
import logging
import os
import re
import resource
import secrets
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
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.store.errors import ConflictError
from bitfront.supernet.errors import BitfrontError

LOG = logging.getLogger("bitfront.service")

_ERROR = re.compile(r"^error: (.*)", re.DOTALL | re.MULTILINE)
_MOST_KEPT = 1000
_MOST_LOGGED = 10_000
_NO_MEMORY = ("MemoryError", "std::bad_alloc", "malloc of size")
_NO_DISK = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
_LOOK_SECONDS = 0.1


class JobError(BitfrontError):
    """A command that the service ran for somebody failed; the message is its own."""


class JobFailedError(JobError):
    """A command did not end as commands do: it is no fault of who asked. The service's log has what it said."""


@dataclass(slots=True)
class Job:
    """A command in progress or done: ``error`` is empty until it failed."""

    done: threading.Event
    error: str = ""
    arguments: tuple[str, ...] = ()


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
            ConflictError: the one in progress does something else.
        """
        with self._lock:
            known = self._known.get(key)
            if known is not None and not known.done.is_set():
                if known.arguments != tuple(arguments):
                    raise ConflictError("the same is in progress with other options: ask again when it is done")
                return known
            self._take_place()
            job = self._known[key] = Job(threading.Event(), arguments=tuple(arguments))
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
            job.error = str(_failed("it could not be run", arguments, f"{type(error).__name__}: {error}"))
        finally:
            self._places.release()
            job.done.set()

    def _command(self, arguments: Sequence[str], memory: int | None) -> str:
        with self._started(arguments, memory) as process:
            try:
                out, err = process.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                err = process.communicate()[1]
                raise _failed(f"it took longer than {self._seconds:.0f} s", arguments, err) from None
        if process.returncode:
            raise _meaning(arguments, err, process.returncode)
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


def _meaning(arguments: Sequence[str], err: str, code: int) -> JobError:
    """What a command said of its failure; where nobody expected it, only where the log has it."""
    found = _ERROR.search(err)
    words = found[1].strip() if found else ""
    if any(sign in err for sign in _NO_MEMORY):
        return JobError("it needs more memory than it may take: give it less to do")
    if not words or "did not expect this" in words or any(sign in words for sign in _NO_DISK):
        return _failed(f"the command ended with code {code}", arguments, err)
    LOG.info("%s was refused: %s", arguments[0], words)
    return JobError(file_names_only(words))


def _failed(what: str, arguments: Sequence[str], err: str) -> JobFailedError:
    number = secrets.token_hex(8)
    LOG.error(
        "%s (%s) failed: %s: %s", arguments[0], number, what, err[-_MOST_LOGGED:], extra={"error_id": number}
    )
    return JobFailedError(f"{what}: its keeper finds {number} in the service's log")
