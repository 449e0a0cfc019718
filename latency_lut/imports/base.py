"""What an importer returns, and what makes a table unfit to be imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitfront.latency_lut.bundle.profile import Times
from bitfront.latency_lut.table import InvalidTableError

COSTS = ("latency_ms", "energy_mj")
"""The costs that a device can give, in milliseconds and millijoules of one call."""

_MOST_OFFENDERS = 5

Costs = Mapping[str, float]


@dataclass(frozen=True)
class ImportedTable:
    """Costs as somebody else's file gives them.

    ``costs``: which of `COSTS` every row gives. ``entries``: op key or layer key to costs. ``borders``: border key
    to costs. ``calls``: call key to raw times of a whole call, out of which costs are still to be derived.
    ``provenance``: JSON-able. ``ignored``: how many rows the space has no use for.
    """

    costs: tuple[str, ...]
    entries: Mapping[str, Costs]
    borders: Mapping[str, Costs] = field(default_factory=dict)
    calls: Mapping[str, Times] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ignored: int = 0


def refuse(path: Path, offenders: Iterable[str], rule: str) -> None:
    """Raise an error that lists the first offenders and their count, if there are any.

    Raises:
        InvalidTableError: there are; ``rule`` says what should be, and how to mend it.
    """
    listed = list(offenders)
    if listed:
        first = "; ".join(listed[:_MOST_OFFENDERS])
        raise InvalidTableError(
            f"{path} has {len(listed)} bad row{'s' * (len(listed) != 1)}, the first: {first}. {rule} "
            "(nothing was imported)"
        )


def repeated(keys: Sequence[str]) -> list[str]:
    """Offenders among keys: those that come twice."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for key in keys:
        if key in seen:
            twice[key] = None
        seen.add(key)
    return [f"{key} comes twice" for key in twice]
