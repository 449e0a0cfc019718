"""Which keys of tables a space can have a use for."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from dataclasses import dataclass

from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.latency_lut.profile_plan import Shape, input_shape, keys_of_call, output_shape
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace


@dataclass(frozen=True)
class PossibleKeys:
    """Keys by kind of row, as the tables of bitfront's own schema have them.

    ``slots``: the name of a slot to the op keys of its blocks, each with its layer keys.
    """

    blocks: frozenset[str]
    layers: frozenset[str]
    borders: frozenset[str]
    slots: Mapping[str, Mapping[str, tuple[str, ...]]]

    def has(self, kind: str, key: str) -> bool:
        """Whether the space builds what a row speaks of; ``kind`` is one of block, layer, border, call."""
        if kind == "call":
            return self.blocks.issuperset(keys_of_call(key))
        known = {"block": self.blocks, "layer": self.layers, "border": self.borders}[kind]
        return key in known

    def bare_slots(self, known: Container[str]) -> list[str]:
        """The slots of which no block is known, neither by its op key nor by all its layer keys."""
        return [
            name
            for name, blocks in self.slots.items()
            if not any(key in known or all(one in known for one in layers) for key, layers in blocks.items())
        ]


def possible_keys(space: SearchSpace) -> PossibleKeys:
    """Every key of a space, whatever formats a device executes."""
    blocks: dict[str, Block] = {}
    layers: dict[str, tuple[str, ...]] = {}
    slots: dict[str, dict[str, tuple[str, ...]]] = {}
    for block in every_block(space):
        key = op_key(block)
        if key not in blocks:
            blocks[key], layers[key] = block, tuple(map(layer_key, block.layers))
        slots.setdefault(block.name, {})[key] = layers[key]
    before: dict[Shape, set[str]] = {}
    after: dict[Shape, set[str]] = {}
    for block in blocks.values():
        before.setdefault(output_shape(block), set()).add(handed_over(block))
        after.setdefault(input_shape(block), set()).add(asked_for(block))
    borders = frozenset(
        border_key(*shape, one, other)
        for shape in before.keys() & after.keys()
        for one in before[shape]
        for other in after[shape]
        if one != other
    )
    return PossibleKeys(frozenset(blocks), frozenset(itertools.chain(*layers.values())), borders, slots)
