"""Every block that a space can put into a slot on a device: what a table must cover."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.supernet.genes import Choice
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace, Slot


def radices(space: SearchSpace, slot: Slot) -> NDArray[np.int64]:
    """Weight of each of the slot's genes in the mixed-radix number of a combination, shape (genes,)."""
    sizes = [len(space.genes[space.position[name]].choices) for name in slot.genes]
    return np.array([int(np.prod(sizes[k + 1 :], dtype=np.int64)) for k in range(len(sizes))], dtype=np.int64)


def combinations(space: SearchSpace, slot: Slot) -> int:
    """Size of the product of the slot's genes' choices, those of a wider space included."""
    return int(np.prod([len(space.genes[space.position[name]].choices) for name in slot.genes], dtype=np.int64))


def slot_choices(space: SearchSpace, slot: Slot, device: Device) -> Iterator[tuple[Choice, ...]]:
    """The values of the slot's genes in every combination that is allowed here and executable on ``device``."""
    choices = [space.genes[space.position[name]].choices for name in slot.genes]
    for pick in _executable(space, slot, device).tolist():
        yield tuple(values[i] for values, i in zip(choices, pick, strict=True))


def slot_blocks(space: SearchSpace, slot: Slot, device: Device) -> Iterator[tuple[int, Block]]:
    """(mixed-radix number, block) of every combination that is allowed here and executable on ``device``."""
    numbers = _executable(space, slot, device) @ radices(space, slot)
    for number, values in zip(numbers.tolist(), slot_choices(space, slot, device), strict=True):
        yield number, slot.build(values)


def unique_blocks(space: SearchSpace, device: Device) -> dict[str, Block]:
    """Op key to one block with that key, over all slots of a (restricted) space, in order of the slots."""
    found: dict[str, Block] = {}
    for slot in space.slots:
        for _, block in slot_blocks(space, slot, device):
            found.setdefault(op_key(block), block)
    return found


def every_block(space: SearchSpace) -> Iterator[Block]:
    """The blocks that a (restricted) space can put into its slots, in any formats; equal ones come again."""
    for slot in space.slots:
        choices = [space.genes[space.position[name]].choices for name in slot.genes]
        for pick in _allowed(space, slot).tolist():
            yield slot.build(tuple(values[i] for values, i in zip(choices, pick, strict=True)))


def _executable(space: SearchSpace, slot: Slot, device: Device) -> NDArray[np.int64]:
    """Choice indices of the slot's genes, shape (n, genes), that obey the space's rules and that a device runs."""
    genes = [space.genes[space.position[name]] for name in slot.genes]
    picks = _allowed(space, slot)
    for pair in space.format_pairs:
        if pair.weight_gene in slot.genes and pair.activation_gene in slot.genes:
            a, b = slot.genes.index(pair.weight_gene), slot.genes.index(pair.activation_gene)
            runs = device.executable(pair.op)
            runnable = np.array([[(x, y) in runs for y in genes[b].choices] for x in genes[a].choices], dtype=bool)
            picks = picks[runnable[picks[:, a], picks[:, b]]]
    return picks


def _allowed(space: SearchSpace, slot: Slot) -> NDArray[np.int64]:
    """Choice indices of the slot's genes, shape (n, genes), that obey the space's rules."""
    genes = [space.genes[space.position[name]] for name in slot.genes]
    if not _reachable(space, slot):
        return np.empty((0, len(genes)), dtype=np.int64)
    allowed = [[gene.choices.index(value) for value in space.allowed_choices(gene.name)] for gene in genes]
    picks = np.array(list(itertools.product(*allowed)), dtype=np.int64).reshape(-1, len(genes))
    column = {space.position[name]: k for k, name in enumerate(slot.genes)}
    for group in space.groups:
        if not group.valid.all() and column.keys() >= set(group.members.tolist()):
            picks = picks[group.valid[picks[:, [column[i] for i in group.members.tolist()]] @ group.radix]]
    return picks


def _reachable(space: SearchSpace, slot: Slot) -> bool:
    """Whether any depth that is left has the slot."""
    if slot.active_if is None:
        return True
    name, threshold = slot.active_if
    choices = space.genes[space.position[name]].choices
    return any(choices.index(value) >= threshold for value in space.allowed_choices(name))
