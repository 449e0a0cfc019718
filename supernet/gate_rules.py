"""Squeeze and excitation has no format genes: rules over the genes of its block keep it executable."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence

from bitfront.supernet.genes import Choice, Gene, Rule
from bitfront.supernet.layers import Block, Layer

Executable = Callable[[str], Collection[tuple[str, str]]]
"""Operator -> the (weight format, activation format) pairs that a device executes."""


def gate_rule(
    genes: Sequence[Gene], build: Callable[[tuple[Choice, ...]], Block], executable: Executable
) -> Rule | None:
    """The rule over a slot's format genes that leaves what gives its gates executable formats, too.

    None where that is already all of which the block's other layers are executable.
    """
    policy = [gene for gene in genes if gene.is_policy]
    runnable, left = set(), 0
    for formats in itertools.product(*(gene.choices for gene in policy)):
        chosen = dict(zip((gene.name for gene in policy), formats, strict=True))
        block = build(tuple(chosen.get(gene.name, gene.choices[-1]) for gene in genes))
        if _run((layer for layer in block.layers if not _is_derived(layer)), executable):
            left += 1
            if _run(block.layers, executable):
                runnable.add(formats)
    return Rule(tuple(gene.name for gene in policy), frozenset(runnable)) if len(runnable) < left else None


def _is_derived(layer: Layer) -> bool:
    return layer.gate or layer.source == "pooled"


def _run(layers: Iterable[Layer], executable: Executable) -> bool:
    return all((layer.weight_format, layer.activation_format) in executable(layer.op) for layer in layers)
