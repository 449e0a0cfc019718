"""Children of a worker: started, looked at, and ended with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bitfront.experiments.commands.detached import NEXT
from bitfront.experiments.endings import ending
from bitfront.experiments.store.owner import Owner


class Process(Protocol):
    """A process that this one started, as `subprocess.Popen`."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """Wait for its end; its exit code."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that this worker started (``process``), or that one before it left running (then None)."""

    owner: Owner
    process: Process | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.owner.is_alive if self.process is None else self.process.poll() is None

    @property
    def could_not_work(self) -> bool:
        """Whether it ended, by itself, without telling the store how its experiment ended."""
        return self.process is not None and (self.process.poll() or 0) > 0

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = None if self.process is None else self.process.poll()
        return "ended" if code is None else ending(code)

    def stop(self) -> None:
        """Ask it to end; its experiment is then INTERRUPTED, or CANCELLED if that is what was wanted."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.owner.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, whatever they do."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self.owner.pid, signal.SIGKILL)  # it leads a session, see `start_child`


Start = Callable[[Path], Child]
"""Starts a process that claims the next experiment of a home by itself, see `child.work_on_next`."""


def start_child(home: Path) -> Child:
    """The `Start` of the real thing.

    It leads a session of its own: what ends the worker, or is typed at its terminal, does not reach it.
    """
    process = subprocess.Popen(
        (sys.executable, "-m", "bitfront.experiments.cli", NEXT),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BITFRONT_HOME": str(home)},
        start_new_session=True,
    )
    return Child(Owner.of(process.pid), process)
