"""Every block that a space can put into a slot on a device: what a table must cover."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace, Slot


def radices(space: SearchSpace, slot: Slot) -> NDArray[np.int64]:
    """Weight of each of the slot's genes in the mixed-radix number of a combination, shape (genes,)."""
    sizes = [len(space.genes[space.position[name]].choices) for name in slot.genes]
    return np.array([int(np.prod(sizes[k + 1 :], dtype=np.int64)) for k in range(len(sizes))], dtype=np.int64)


def combinations(space: SearchSpace, slot: Slot) -> int:
    """Size of the product of the slot's genes' choices, those of a wider space included."""
    return int(np.prod([len(space.genes[space.position[name]].choices) for name in slot.genes], dtype=np.int64))


def slot_blocks(space: SearchSpace, slot: Slot, device: Device) -> Iterator[tuple[int, Block]]:
    """(mixed-radix number, block) of every combination that is allowed here and executable on ``device``."""
    picks = _executable(space, slot, device)
    choices = [space.genes[space.position[name]].choices for name in slot.genes]
    for number, pick in zip((picks @ radices(space, slot)).tolist(), picks.tolist(), strict=True):
        yield number, slot.build(tuple(values[i] for values, i in zip(choices, pick, strict=True)))


def unique_blocks(space: SearchSpace, device: Device) -> dict[str, Block]:
    """Op key to one block with that key, over all slots of a (restricted) space, in order of the slots."""
    found: dict[str, Block] = {}
    for slot in space.slots:
        for _, block in slot_blocks(space, slot, device):
            found.setdefault(op_key(block), block)
    return found


def _executable(space: SearchSpace, slot: Slot, device: Device) -> NDArray[np.int64]:
    """Choice indices of the slot's genes, shape (n, genes)."""
    genes = [space.genes[space.position[name]] for name in slot.genes]
    allowed = [[gene.choices.index(value) for value in space.allowed_choices(gene.name)] for gene in genes]
    picks = np.array(list(itertools.product(*allowed)), dtype=np.int64).reshape(-1, len(genes))
    for pair in space.format_pairs:
        if pair.weight_gene in slot.genes and pair.activation_gene in slot.genes:
            a, b = slot.genes.index(pair.weight_gene), slot.genes.index(pair.activation_gene)
            runs = device.executable(pair.op)
            runnable = np.array([[(x, y) in runs for y in genes[b].choices] for x in genes[a].choices], dtype=bool)
            picks = picks[runnable[picks[:, a], picks[:, b]]]
    return picks
