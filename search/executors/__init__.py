"""Executors: who does coarse work (true evaluations, profiling), in this process or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bitfront.supernet.registry import Registry

if TYPE_CHECKING:
    from bitfront.search.executors.base import Executor

EXECUTORS: Registry[Callable[..., Executor]] = Registry(
    "executor",
    {
        "local": "bitfront.search.executors.local:LocalExecutor",
        "ray": "bitfront.search.executors.ray_actors:RayExecutor",
    },
)
"""Factories: called with ``workers`` (None: as many as there can be) and ``address`` (None: this machine)."""
