"""Leaving out of a space what a device has no costs for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, TypeVar

from bitfront.latency_lut.slot_blocks import slot_choices
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Choice, Rule
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace, Slot

if TYPE_CHECKING:
    from bitfront.latency_lut.device import Device

Space = TypeVar("Space", bound=SearchSpace)
Values = tuple[Choice, ...]


@dataclass
class _Covered:
    """Of one slot: by the values of genes that it shares with other slots, those of its own that are covered."""

    shared: tuple[str, ...]
    own: tuple[str, ...]
    found: dict[Values, set[Values]] = field(default_factory=dict)
    every: set[Values] = field(default_factory=set)


def restrict_to_covered(space: Space, device: Device, covers: Callable[[Block], bool]) -> Space:
    """The part of a space (restricted to a device's formats) of which ``covers`` holds for every block.

    A gene that shapes several slots (the resolution) loses the choices at which some slot that can not be skipped
    has nothing. A block's combination of its own genes stays if it is covered at every choice of the shared genes
    that is left. Where nothing stays of a block that depth can skip, the depths that need it go. Sampling remains
    uniform over what is left, without rejection.

    Raises:
        UnsupportedError: nothing is left of a slot that can not be skipped.
    """
    slots = {slot: _covered(space, slot, device, covers) for slot in space.slots}
    if all(len(values) == len(one.every) for one in slots.values() for values in one.found.values()):
        return space
    space = space.restrict(_shared_choices(space, slots, device))
    allowed: dict[str, tuple[Choice, ...]] = {}
    rules: list[Rule] = []
    for slot, one in slots.items():
        stay = _everywhere(space, one)
        if stay:
            rules += [Rule(one.own, frozenset(stay))] if one.own else []
        elif slot.active_if is None or not _drop_depths(space, slot.active_if, allowed):
            raise UnsupportedError(_nothing_left(slot, device))
    return space.restrict(allowed, rules)


def _covered(space: SearchSpace, slot: Slot, device: Device, covers: Callable[[Block], bool]) -> _Covered:
    others = {name for other in space.slots if other is not slot for name in other.genes}
    is_shared = [name in others for name in slot.genes]
    is_own = [not shared for shared in is_shared]
    one = _Covered(tuple(compress(slot.genes, is_shared)), tuple(compress(slot.genes, is_own)))
    for values in slot_choices(space, slot, device):
        shared, own = tuple(compress(values, is_shared)), tuple(compress(values, is_own))
        found = one.found.setdefault(shared, set())
        one.every.add(own)
        if covers(slot.build(values)):
            found.add(own)
    return one


def _shared_choices(space: SearchSpace, slots: Mapping[Slot, _Covered], device: Device) -> dict[str, list[Choice]]:
    """What stays of shared genes: the values at which every slot that can not be skipped has something."""
    stay = {name: list(space.allowed_choices(name)) for one in slots.values() for name in one.shared}
    for slot, one in slots.items():
        if slot.active_if is None:
            for i, name in enumerate(one.shared):
                some = {shared[i] for shared, found in one.found.items() if found}
                stay[name] = [value for value in stay[name] if value in some]
                if not stay[name]:
                    raise UnsupportedError(_nothing_left(slot, device))
    return stay


def _everywhere(space: SearchSpace, one: _Covered) -> set[Values]:
    left = [set(space.allowed_choices(name)) for name in one.shared]
    sets = [
        found
        for shared, found in one.found.items()
        if all(value in choices for value, choices in zip(shared, left, strict=True))
    ]
    return set.intersection(*sets) if sets else set()


def _drop_depths(space: SearchSpace, condition: tuple[str, int], allowed: dict[str, tuple[Choice, ...]]) -> bool:
    """Take out the depths at which a block exists; whether any other is left."""
    name, threshold = condition
    gene = space.genes[space.position[name]]
    before = allowed.get(name, space.allowed_choices(name))
    allowed[name] = tuple(choice for choice in before if gene.choices.index(choice) < threshold)
    return bool(allowed[name])


def _nothing_left(slot: Slot, device: Device) -> str:
    return (
        f"device {device.name!r} has no costs for any block at slot {slot.name!r} (at every choice that its genes "
        "share with other slots): import a fuller table, or fix the resolution"
    )
