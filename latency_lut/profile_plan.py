"""What is timed on a device, so that the cost of every network of a space can be derived.

A *call* runs a chain of blocks. Its key joins their op keys. Calls are: every block alone; at every junction of a
shape, for every pair of formats that can meet there, a few chains of two blocks; and whole random networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bitfront.latency_lut.op_key import asked_for, handed_over, op_key
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace

CORRECTION_NETWORKS = 20
"""Random whole networks behind the correction of a table."""

_PAIRS_PER_JUNCTION = 4
JOINED_BY = " + "
"""Between the op keys of a call's key."""

Chain = tuple[Block, ...]
Shape = tuple[int, int]
"""Channels and side of a feature map."""


def call_key(blocks: Iterable[Block]) -> str:
    """Names a call by what it runs."""
    return JOINED_BY.join(map(op_key, blocks))


def keys_of_call(key: str) -> tuple[str, ...]:
    """The op keys that `call_key` joined."""
    return tuple(key.split(JOINED_BY))


def is_network(blocks: Sequence[Block]) -> bool:
    """Whether a call runs a whole network."""
    return blocks[0].kind == "stem" and blocks[-1].kind == "head"


def output_shape(block: Block) -> Shape:
    """Channels and side of what a block hands over."""
    return block.tail.out_channels, block.out_size


def input_shape(block: Block) -> Shape:
    """Channels and side of what a block takes."""
    first = block.layers[0]
    return first.in_channels, first.in_size


def profile_plan(space: SearchSpace, blocks: Mapping[str, Block], rng: np.random.Generator) -> dict[str, Chain]:
    """Call key to chain of blocks, for the unique ``blocks`` of a space that is restricted to a device.

    First come networks, pairs and the blocks of pairs, so that what is compared with each other is timed together
    even where memory has no room for all; then all other blocks in a random order. Only networks are random beside
    that, and all but the two extreme ones: from the smallest to the largest, for a search goes to both ends.
    """
    genomes = np.concatenate([space.extremes(), space.sample(CORRECTION_NETWORKS - 2, rng, "sizes")])
    chains: list[Chain] = [space.blocks(genome) for genome in genomes]
    pairs = list(_junction_pairs(blocks.values()))
    chains += pairs
    chains += [(block,) for pair in pairs for block in pair]
    every = list(blocks.values())
    chains += [(every[i],) for i in rng.permutation(len(every))]
    return {call_key(chain): distinct(chain) for chain in chains}


def distinct(blocks: Sequence[Block]) -> Chain:
    """The same blocks under names of their own, as one network wants them."""
    if len({block.name for block in blocks}) == len(blocks):
        return tuple(blocks)
    return tuple(_renamed(block, f"part{i}") for i, block in enumerate(blocks))


def _renamed(block: Block, prefix: str) -> Block:
    layers = tuple(replace(layer, name=f"{prefix}.{layer.name}") for layer in block.layers)
    return replace(block, name=f"{prefix}.{block.name}", layers=layers)


def _junction_pairs(blocks: Iterable[Block]) -> Iterator[Chain]:
    """Pairs of the cheapest blocks: what a junction saves is a difference, and theirs are the least noisy."""
    ending: dict[Shape, dict[str, list[Block]]] = {}
    beginning: dict[Shape, dict[str, list[Block]]] = {}
    for block in sorted(blocks, key=_macs):
        if block.kind != "head":
            ending.setdefault(output_shape(block), {}).setdefault(handed_over(block), []).append(block)
        if block.kind != "stem":
            beginning.setdefault(input_shape(block), {}).setdefault(asked_for(block), []).append(block)
    for shape in sorted(ending.keys() & beginning.keys()):
        for befores in ending[shape].values():
            for afters in beginning[shape].values():
                for i in range(min(_PAIRS_PER_JUNCTION, max(len(befores), len(afters)))):
                    yield befores[i % len(befores)], afters[i % len(afters)]


def _macs(block: Block) -> int:
    return sum(layer.macs for layer in block.layers)
