"""One buffer for all that a run writes: what is not needed at the same time may lie at the same place.

Placed by size, the greatest first, each at the lowest place that is free while it is needed (greedy by size,
Pisarchyk and Lee 2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Region:
    """``count`` bytes, needed from step ``first`` to step ``last``, both included."""

    name: str
    first: int
    last: int
    count: int

    @property
    def room(self) -> int:
        """What it takes in the buffer: whole multiples of `ALIGNMENT`."""
        return -(-self.count // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Plan:
    """The first byte of each region by its name, and the bytes of the whole buffer."""

    places: dict[str, int]
    size: int


def planned(regions: Iterable[Region]) -> Plan:
    """Places for all regions; no two that are needed at the same step overlap."""
    placed: list[tuple[int, Region]] = []
    for region in sorted(regions, key=lambda one: (-one.room, one.first, one.name)):
        placed.append((_lowest_free(region, placed), region))
    places = {region.name: at for at, region in placed}
    return Plan(places, max((at + region.room for at, region in placed), default=ALIGNMENT))


def _lowest_free(region: Region, placed: list[tuple[int, Region]]) -> int:
    at = 0
    rivals = (each for each in placed if each[1].first <= region.last and region.first <= each[1].last)
    for start, rival in sorted(rivals, key=lambda each: each[0]):
        if at + region.room <= start:
            break
        at = max(at, start + rival.room)
    return at
