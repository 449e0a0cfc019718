"""What a device offers of a space, slot by slot: how many combinations of genes, and what their blocks cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import slot_blocks
from bitfront.latency_lut.table import Table
from bitfront.supernet.space import SearchSpace, Slot


def space_details(device: Device, space: SearchSpace, table: Table, path: Path | None) -> dict[str, Any]:
    """A device in a space as one JSON-able object.

    ``networks`` are all of the space, ``available_networks`` those that the device can run. A slot has
    ``combinations`` of its genes, ``available`` ones, and so many different ``blocks``; the cheapest, median and
    dearest are [op key, cost] by the first cost that the device gives, before a network's correction.
    """
    restricted, cost = device.restrict(space), device.costs[0]
    slots = {slot.name: _known(device, restricted, slot, table, cost) for slot in space.slots}
    every = {key: known for one in slots.values() for key, known in one.items()}
    counts = coverage(space, restricted)
    return {
        "name": space.name,
        "hash": space.hash(),
        "networks": float(space.size()),
        "available_networks": float(restricted.size()),
        "cost": cost,
        "unique_blocks": len(every),
        "estimated_blocks": sum(known.estimated for known in every.values()),
        **_ranked({key: known.cost for key, known in every.items()}),
        "slots": [
            {
                "slot": name,
                "combinations": counts[name][1],
                "available": counts[name][0],
                "blocks": len(one),
                **_ranked({key: known.cost for key, known in one.items()}),
            }
            for name, one in slots.items()
        ],
        "borders": {
            "count": len(table.borders),
            "dearest": _ranked({key: row[cost] for key, row in table.borders.items()})["dearest"],
        },
        "table": {
            "path": str(path) if path else None,
            "provenance": dict(table.provenance),
            "correction": {name: [one.offset, one.scale] for name, one in table.correction.items()},
        },
    }


def coverage(space: SearchSpace, restricted: SearchSpace) -> dict[str, tuple[int, int]]:
    """Slot name to (combinations of its genes that stay in ``restricted``, those in ``space``)."""
    return {slot.name: (_combinations(restricted, slot), _combinations(space, slot)) for slot in space.slots}


def _combinations(space: SearchSpace, slot: Slot) -> int:
    if slot.active_if is not None:
        gene, threshold = slot.active_if
        choices = space.genes[space.position[gene]].choices
        if max(map(choices.index, space.allowed_choices(gene))) < threshold:
            return 0  # no depth that is left reaches it
    return math.prod(len(group.rows) for group in space.groups if space.genes[group.members[0]].name in slot.genes)


class _Known(NamedTuple):
    """What a table says of one block."""

    cost: float
    estimated: bool


def _known(device: Device, space: SearchSpace, slot: Slot, table: Table, cost: str) -> dict[str, _Known]:
    """By op key, the blocks of a slot."""
    found: dict[str, _Known] = {}
    for _, block in slot_blocks(space, slot, device):
        key = op_key(block)
        if key not in found and (row := table.cost_of(key, block)) is not None:
            found[key] = _Known(row[cost], table.is_estimated(key, block))
    return found


def _ranked(costs: dict[str, float]) -> dict[str, Any]:
    keys = list(costs)
    order = np.argsort([costs[key] for key in keys], kind="stable")
    places = {"cheapest": 0, "median": (len(keys) - 1) // 2, "dearest": len(keys) - 1}
    return {name: [(key := keys[order[i]]), costs[key]] if keys else None for name, i in places.items()}
