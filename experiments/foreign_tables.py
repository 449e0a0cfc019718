"""Warnings of devices, such as of tables that were measured elsewhere, told as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bitfront.latency_lut.machine_lock import MachineBusyWarning
from bitfront.latency_lut.stored_times import ForeignTableWarning

_TOLD = (ForeignTableWarning, MachineBusyWarning)


@contextmanager
def told_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Warnings about foreign tables and busy machines are told in words, at once; all others go their way."""
    with warnings.catch_warnings():
        for kind in _TOLD:
            warnings.simplefilter("always", kind)
        show: Callable[..., None] = warnings.showwarning

        def showwarning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, _TOLD):
                tell(f"warning: {message}")
            else:
                show(message, category, *rest, **more)

        warnings.showwarning = showwarning
        yield
