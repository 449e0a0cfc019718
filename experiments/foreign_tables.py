"""Warnings about tables that were measured elsewhere, told as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bitfront.latency_lut.stored_times import ForeignTableWarning


@contextmanager
def told_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Warnings about foreign tables are told in words, at once; all others go their way."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ForeignTableWarning)
        show: Callable[..., None] = warnings.showwarning

        def showwarning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, ForeignTableWarning):
                tell(f"warning: {message}")
            else:
                show(message, category, *rest, **more)

        warnings.showwarning = showwarning
        yield
