"""Which keys of tables a space can have a use for."""

from __future__ import annotations

from dataclasses import dataclass

from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.latency_lut.profile_plan import Shape, input_shape, keys_of_call, output_shape
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.supernet.space import SearchSpace


@dataclass(frozen=True)
class PossibleKeys:
    """Keys by kind of row, as the tables of bitfront's own schema have them."""

    blocks: frozenset[str]
    layers: frozenset[str]
    borders: frozenset[str]

    def has(self, kind: str, key: str) -> bool:
        """Whether the space builds what a row speaks of; ``kind`` is one of block, layer, border, call."""
        if kind == "call":
            return self.blocks.issuperset(keys_of_call(key))
        known = {"block": self.blocks, "layer": self.layers, "border": self.borders}[kind]
        return key in known


def possible_keys(space: SearchSpace) -> PossibleKeys:
    """Every key of a space, whatever formats a device executes."""
    blocks = {op_key(block): block for block in every_block(space)}
    layers = frozenset(layer_key(layer) for block in blocks.values() for layer in block.layers)
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
    return PossibleKeys(frozenset(blocks), layers, borders)
