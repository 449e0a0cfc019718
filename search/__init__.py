"""Stages 5-6: the joint search over architecture, pruning and bits, and the front it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitfront.search.loop import search

__all__ = ["search"]


def __getattr__(name: str) -> Any:
    # Late, so that an executor's worker process does not pay for pymoo.
    if name == "search":
        from bitfront.search.loop import search

        return search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
