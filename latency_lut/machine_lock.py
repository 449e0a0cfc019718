"""One measurement at a time on a machine: two that share its cores and caches would measure each other."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 1.0
_FOR_EVERY_USER = 0o666


class MachineBusyWarning(UserWarning):
    """Another process measures on this machine, so that this one waits for it."""


def lock_path() -> Path:
    """The file that stands for this machine: in its folder of temporary files, as homes may be shared."""
    return Path(tempfile.gettempdir()) / "bitfront-measuring.lock"


@contextmanager
def measuring_alone(waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Nobody else on this machine who asks for it is inside at the same time; a dead process lets go of it.

    ``waiting`` is called about every second until it is this one's turn; what it raises ends the waiting.
    """
    lock, told = FileLock(lock_path(), mode=_FOR_EVERY_USER), False
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS if told else 0)
            break
        except Timeout:
            if not told:
                message = "another process measures on this machine: waiting until it is done"
                warnings.warn(message, MachineBusyWarning, stacklevel=3)
            told = True
            waiting()
    try:
        yield
    finally:
        lock.release()
