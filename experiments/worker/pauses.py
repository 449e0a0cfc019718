"""Waiting: for the next moment to look, which a signal brings about at once, and longer after each failure."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

LONGEST_SECONDS = 15.0


class Pause:
    """How long to wait after failures in a row: twice as long each time, up to `LONGEST_SECONDS`."""

    def __init__(self, first_seconds: float) -> None:
        self._first = first_seconds
        self._failures = 0

    @property
    def seconds(self) -> float:
        """0 where nothing failed since the last success."""
        if not self._failures:
            return 0.0
        return float(min(LONGEST_SECONDS, self._first * 2 ** min(self._failures - 1, 30)))

    def failed(self) -> bool:
        """One more failure; whether it is the first in a row."""
        self._failures += 1
        return self._failures == 1

    def succeeded(self) -> bool:
        """It works; whether it had failed before."""
        failed, self._failures = self._failures > 0, 0
        return failed


class Signals:
    """What reaches a worker while it waits: that it shall stop, or that a child ended."""

    def __init__(self) -> None:
        self.stop = False
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen for SIGTERM, SIGINT and SIGCHLD; only in a process's main thread."""
        before: dict[int, Any] = {}
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                before[number] = signal.signal(number, self._stopped)
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
            wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            yield
            signal.set_wakeup_fd(wakeup)
        finally:
            for known, handler in before.items():
                signal.signal(known, handler)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes; one that came since the last time ends it at once."""
        select.select([self._read], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)
        os.close(self._write)

    def _stopped(self, number: int, frame: object) -> None:
        self.stop = True
