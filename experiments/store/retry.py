"""What a store does while its database is away: ask again, but never do twice what may be done only once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from bitfront.experiments.store.errors import LostError

PATIENCE_SECONDS = 60.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class Patient(Protocol):
    """Something that waits for its database at most so many seconds."""

    _patience: float


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Patient)
_Method = Callable[Concatenate[S, P], T]


def repeatable(method: _Method[S, P, T]) -> _Method[S, P, T]:
    """A read, or a write that changes nothing when it is done again: repeated until the database is back."""
    return _repeated(method, lambda error: True)


def repeatable_if_undone(method: _Method[S, P, T]) -> _Method[S, P, T]:
    """A write that may be done once only: repeated as long as it is certain that nothing was stored."""
    return _repeated(method, lambda error: not error.unknown)


def _repeated(method: _Method[S, P, T], may: Callable[[LostError], bool]) -> _Method[S, P, T]:
    @wraps(method)
    def patiently(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        until, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                return method(self, *args, **kwargs)
            except LostError as error:
                if not may(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    return patiently
