"""Which work candidates have in common: a tree of blocks, walked depth first with one map in memory per level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.forward import Normalise
from bitfront.supernet.genes import Genomes
from bitfront.supernet.inference import ReadyBlock, ReadyParams
from bitfront.supernet.layers import Block
from bitfront.supernet.moments import PooledMoments
from bitfront.supernet.quantization.policy import quantized_outputs
from bitfront.supernet.space import SearchSpace

Moments = tuple[Tensor, Tensor]
OnLogits = Callable[[int, Tensor], None]
"""Given (candidate, its logits)."""


@dataclass(eq=False)
class Node:
    """One block after a certain row of blocks; ``ends`` are the candidates whose network is complete here.

    A block occurs in two forms where what follows decides whether its outputs are quantized.
    """

    ready: ReadyBlock
    pooled: dict[str, PooledMoments] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    children: dict[tuple[Block, frozenset[str]], Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)


class Plan:
    """Candidates as a tree: what their networks have in common from the input on is there once.

    Args:
        networks: the blocks of each candidate; all take images of one resolution.
        params_of: parameters, quantized already.
    """

    def __init__(self, networks: Sequence[Sequence[Block]], params_of: ReadyParams) -> None:
        self.roots: dict[tuple[Block, frozenset[str]], Node] = {}
        for candidate, blocks in enumerate(networks):
            outputs = quantized_outputs(blocks)
            level = self.roots
            for block in blocks:
                quantized = outputs.intersection(layer.name for layer in block.layers)
                if (block, quantized) not in level:
                    level[block, quantized] = Node(ReadyBlock(block, quantized, params_of))
                node = level[block, quantized]
                level = node.children
            node.ends.append(candidate)

    def nodes(self) -> Iterator[Node]:
        """Every node, parents first."""
        waiting = list(self.roots.values())
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children.values())

    def drop(self, candidates: frozenset[int]) -> None:
        """Take candidates out, and the blocks that no other needs."""
        _drop(self.roots, candidates)

    def walk(self, images: Tensor, normalise_of: Callable[[Node], Normalise], on_logits: OnLogits) -> None:
        """Run every node once on ``images`` (n, channels, size, size), in channels-last."""
        _walk(self.roots, images, False, normalise_of, on_logits)


def _walk(
    level: dict[tuple[Block, frozenset[str]], Node],
    x: Tensor,
    owned: bool,
    normalise_of: Callable[[Node], Normalise],
    on_logits: OnLogits,
) -> None:
    left = len(level)
    for node in level.values():
        left -= 1
        # The last one to read a map may use its memory.
        y = node.ready(x, owned and left == 0, normalise_of(node))
        for candidate in node.ends:
            on_logits(candidate, y)
        if node.children:
            _walk(node.children, y, not node.ends, normalise_of, on_logits)


def _drop(level: dict[tuple[Block, frozenset[str]], Node], candidates: frozenset[int]) -> None:
    for key, node in list(level.items()):
        _drop(node.children, candidates)
        node.ends = [candidate for candidate in node.ends if candidate not in candidates]
        if not node.ends and not node.children:
            del level[key]


def sharing_order(space: SearchSpace, genomes: Genomes) -> NDArray[np.intp]:
    """Places of genomes (n, n_genes), shape (n,), so that those whose first blocks are equal are neighbours."""
    columns = [space.position[gene] for slot in space.slots for gene in slot.genes]
    shared = list(dict.fromkeys(columns))
    rest = [i for i in range(space.n_genes) if i not in set(shared)]
    return np.lexsort(genomes[:, [*shared, *rest]].T[::-1])
