"""One explicit, lazy table per extension kind, plus entry points for third parties."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from bitfront.supernet.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names that resolve alike in the driver and in Ray workers.

    A name maps to ``"module:attribute"``; the module is imported when the name is first asked for, so that
    listing names costs nothing. Third parties add names through the entry point groups ``bitfront.spaces``,
    ``bitfront.strategies`` and so on.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        self.kind = kind
        self._targets = dict(targets)
        self._loaded: dict[str, T] = {}

    def names(self) -> list[str]:
        """All known names, sorted; built-in ones win over entry points of the same name."""
        return sorted({*self._targets, *self._third_party})

    def get(self, name: str) -> T:
        """The object behind ``name``.

        Raises:
            UnknownNameError: ``name`` is not registered; the message lists the known names.
        """
        if name not in self._loaded:
            module, _, attribute = self._target(name).partition(":")
            self._loaded[name] = cast(T, getattr(importlib.import_module(module), attribute))
        return self._loaded[name]

    def module(self, name: str) -> str:
        """The name of the module that `get` imports.

        Raises:
            UnknownNameError: as `get`.
        """
        return self._target(name).partition(":")[0]

    def _target(self, name: str) -> str:
        target = self._targets.get(name) or self._third_party.get(name)
        if target is None:
            raise UnknownNameError(self.kind, name, self.names())
        return target

    @cached_property
    def _third_party(self) -> dict[str, str]:
        plural = f"{self.kind[:-1]}ies" if self.kind.endswith("y") else f"{self.kind}s"
        return {point.name: point.value for point in entry_points(group=f"bitfront.{plural}")}
