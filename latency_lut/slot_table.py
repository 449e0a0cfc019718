"""The dense arrays of a cost model: one table a slot, by the mixed-radix number of what stands in it.

A block's border and the bits of its last output are its successor's choice. They depend only on the successor's
*demand*: the format of its input, and the bits in which that is to be stored. There are few different demands, so
a table holds every block once per demand that can follow, and every cost comes out of one gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.slot_blocks import combinations, radices, slot_blocks
from bitfront.latency_lut.unique_costs import Demand, UniqueCosts
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace, Slot

_MOST_ROWS = 1 << 24  # about a gigabyte
# What a network hands its caller: logits are real numbers.
_NOTHING_FOLLOWS: Demand = ("", 32)


@dataclass(frozen=True)
class SlotTable:
    """One slot's costs. The number i, before a successor that demands d, has the row (1 + i) * demands + d.

    The first rows are those of the skipped block, which costs nothing and passes the demand on. ``costs`` has
    shape (rows, costs), peak memory last, and is NaN where the device has no such block; ``demand`` (rows,) is
    what the block demands of its predecessor; ``estimated`` (rows,) says whether its cost was interpolated.
    The slot is active where the gene ``owner`` is at least ``threshold``; always, where it is None.
    """

    costs: NDArray[np.float64]
    demand: NDArray[np.unsignedinteger[Any]]
    estimated: NDArray[np.bool_]
    owner: int | None
    threshold: int


class SlotTables(NamedTuple):
    """The tables of all slots, in the network's order, and the way to them.

    ``radix`` has shape (slots, n_genes): row s times a genome is the first row of what stands in slot s, less the
    rows of the skipped block, of which there are ``demands``. Its numbers are as narrow as rows allow, for speed.
    """

    radix: csr_array
    demands: int
    slots: tuple[SlotTable, ...]


@dataclass(frozen=True)
class _Content:
    """The numbers that a slot can have, and the place of each one's block among the unique ones."""

    size: int
    numbers: NDArray[np.intp]
    places: NDArray[np.intp]


def slot_tables(space: SearchSpace, device: Device, unique: UniqueCosts) -> SlotTables:
    """Tabulate every slot of a (restricted) space; its blocks are added to ``unique``.

    Raises:
        UnsupportedError: a slot has so many genes that it can not be tabulated, or the device executes no block.
    """
    contents = [_content(space, slot, device, unique) for slot in space.slots]
    if not unique.demands():
        raise UnsupportedError(
            f"device {device.name!r} executes no block of this space: see device.restrict(space)"
        )
    demands = {_NOTHING_FOLLOWS: 0}
    for demand in unique.demands():
        demands.setdefault(demand, len(demands))
    radix = _radix(space, contents, len(demands))
    costs, estimated = unique.costs(list(demands)), unique.estimated()
    asks = np.array([demands[demand] for demand in unique.demands()], dtype=radix.dtype)
    slots = (
        SlotTable(
            _spread(content, costs[content.places], 0.0, np.nan),
            _spread(content, _each(asks[content.places], len(demands)), np.arange(len(demands)), 0),
            _spread(content, _each(estimated[content.places], len(demands)), False, False),
            *_activity(space, slot),
        )
        for slot, content in zip(space.slots, contents, strict=True)
    )
    return SlotTables(radix, len(demands), tuple(slots))


def _radix(space: SearchSpace, contents: Sequence[_Content], demands: int) -> csr_array:
    rows = max((1 + content.size) * demands for content in contents)
    radix = np.zeros((len(contents), space.n_genes), dtype=np.min_scalar_type(rows))
    for s, slot in enumerate(space.slots):
        radix[s, [space.position[name] for name in slot.genes]] = radices(space, slot) * demands
    return csr_array(radix)


def _content(space: SearchSpace, slot: Slot, device: Device, unique: UniqueCosts) -> _Content:
    size = _checked_size(space, slot)
    found = [(number, unique.add(block)) for number, block in slot_blocks(space, slot, device)]
    numbers, places = np.array(found, dtype=np.intp).reshape(-1, 2).T
    return _Content(size, numbers, places)


def _activity(space: SearchSpace, slot: Slot) -> tuple[int | None, int]:
    if slot.active_if is None:
        return None, 0
    return space.position[slot.active_if[0]], slot.active_if[1]


def _each(values: NDArray[Any], demands: int) -> NDArray[Any]:
    """The same for every demand."""
    return np.broadcast_to(values[:, None], (len(values), demands))


def _spread(content: _Content, values: NDArray[Any], skipped: object, unknown: object) -> NDArray[Any]:
    """Rows by number and demand, out of values (numbers, demands, ...)."""
    rows = np.full((1 + content.size, *values.shape[1:]), unknown, dtype=values.dtype)
    rows[0] = skipped
    rows[1 + content.numbers] = values
    return rows.reshape(-1, *values.shape[2:])


def _checked_size(space: SearchSpace, slot: Slot) -> int:
    size = combinations(space, slot)
    # A format may be demanded before and after pooling, and nothing may follow.
    most = _MOST_ROWS // (2 * len(FORMATS.names()) + 1) - 1
    if size > most:
        raise UnsupportedError(
            f"slot {slot.name!r} of space {space.name!r} has {size} combinations of its genes, the most that are "
            f"tabulated are {most}: split it into slots with fewer genes"
        )
    return size
