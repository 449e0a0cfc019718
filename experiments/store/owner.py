"""Which process works on an experiment, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. ``started`` tells it from a later process with the same id; empty where that is unknown."""

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """The process that asks."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """A process of this host that runs now."""
        return cls(socket.gethostname(), pid, _started(pid) or "")

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this host."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it runs. Only for processes of this host (`is_here`)."""
        if not self.started:
            return _exists(self.pid)
        return _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str | None:
    """Boot and clock tick at which a process began; None if it is gone, a zombie, or this is no Linux."""
    try:
        # The command's name stands in brackets and may hold spaces; the numbered fields come after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        return None
    state, tick = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{tick}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
