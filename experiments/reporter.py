"""Who is told how an experiment goes: a person at a terminal, a log file, or nobody."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from bitfront.supernet.errors import StorageError
from bitfront.supernet.progress import Progress


class Reporter(ABC):
    """Listens to a run. Stages have a number and a title; long work inside a stage reports progress."""

    @abstractmethod
    def stage(self, title: str) -> None:
        """A stage begins."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Something worth knowing, one line."""

    @abstractmethod
    def progress(self, label: str) -> Progress:
        """A listener for one piece of long work; it may be called often."""


@final
class LogReporter(Reporter):
    """Appends time-stamped lines to a file, progress at most every ten seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock

    def stage(self, title: str) -> None:
        """One line with the title between rules."""
        self._write(f"== {title} ==")

    def say(self, text: str) -> None:
        """One line."""
        self._write(text)

    def progress(self, label: str) -> Progress:
        """Lines such as ``label: 120 of 400``, not too many of them."""
        last = float("-inf")

        def listen(done: int, total: int) -> None:
            nonlocal last
            now = self._clock()
            if now - last >= 10 or done == total:
                last = now
                self._write(f"{label}: {done} of {total}")

        return listen

    def _write(self, line: str) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(f"{stamp} {line}\n")
        except OSError as error:
            raise StorageError(
                f"can not write the log {self._path}: {error.strerror}. Free space, then resume"
            ) from error


@final
class Reporters(Reporter):
    """Tells several listeners."""

    def __init__(self, *listeners: Reporter) -> None:
        self._listeners = listeners

    def stage(self, title: str) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.stage(title)

    def say(self, text: str) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.say(text)

    def progress(self, label: str) -> Progress:
        """One listener that tells all."""
        parts = [listener.progress(label) for listener in self._listeners]

        def listen(done: int, total: int) -> None:
            for part in parts:
                part(done, total)

        return listen
