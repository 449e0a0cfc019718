"""How long work reports how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total) whenever a piece of work is finished."""


def silent(done: int, total: int) -> None:
    """A listener that does nothing."""
