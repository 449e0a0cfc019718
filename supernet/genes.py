"""Genes, the rules that tie pairs of genes, and the independent groups of genes that follow from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnknownNameError, UnsupportedError

Choice = int | str
GeneKind = Literal["resolution", "depth", "kernel", "width", "weight_format", "activation_format"]
Genomes = NDArray[np.uint8]

_LARGEST_GROUP = 1 << 20


@dataclass(frozen=True, slots=True)
class Gene:
    """One choice. ``active_if = (depth gene, index)``: active where that gene's choice index is at least it."""

    name: str
    kind: GeneKind
    choices: tuple[Choice, ...]
    active_if: tuple[str, int] | None = None

    @property
    def is_policy(self) -> bool:
        """Whether the gene belongs to the bit-width policy (else to architecture and pruning)."""
        return self.kind in ("weight_format", "activation_format")


@dataclass(frozen=True, slots=True)
class PairRule:
    """Which choices of two genes go together.

    Both genes must be active under the same condition, and neither may be a depth gene.
    """

    first: str
    second: str
    allowed: frozenset[tuple[Choice, Choice]]


@dataclass(frozen=True, slots=True)
class FormatPair:
    """The two genes that name one layer's formats, and the operator that must execute them."""

    op: str
    weight_gene: str
    activation_gene: str


@dataclass(frozen=True)
class GeneGroup:
    """Genes that rules tie together, with every valid combination of their choices.

    ``members`` are gene positions; ``rows`` has shape (n_valid, len(members)); ``nearest`` maps the
    mixed-radix number of any combination to the row that repairs it.
    """

    members: NDArray[np.intp]
    rows: Genomes
    radix: NDArray[np.int64]
    nearest: NDArray[np.intp]
    valid: NDArray[np.bool_]

    def number(self, genomes: Genomes) -> NDArray[np.int64]:
        """Mixed-radix number of this group's part of each genome, shape (n,)."""
        return genomes[:, self.members].astype(np.int64) @ self.radix


def build_groups(
    genes: Sequence[Gene], rules: Iterable[PairRule], allowed: Mapping[str, Sequence[int]]
) -> tuple[GeneGroup, ...]:
    """Split genes into the connected components of their rules and list what is valid in each.

    Raises:
        UnknownNameError: a rule names an unknown gene.
        UnsupportedError: a component has no valid combination left, or a rule ties genes that it may not tie.
    """
    rules = tuple(rules)
    _check_rules(genes, rules)
    position = {gene.name: i for i, gene in enumerate(genes)}
    parent = list(range(len(genes)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for rule in rules:
        parent[root(position[rule.first])] = root(position[rule.second])
    components: dict[int, list[int]] = {}
    for i in range(len(genes)):
        components.setdefault(root(i), []).append(i)
    return tuple(_group(genes, members, rules, allowed) for members in components.values())


def _check_rules(genes: Sequence[Gene], rules: Iterable[PairRule]) -> None:
    by_name = {gene.name: gene for gene in genes}
    for rule in rules:
        for name in (rule.first, rule.second):
            if name not in by_name:
                raise UnknownNameError("gene in a rule", name, by_name)
        first, second = by_name[rule.first], by_name[rule.second]
        if first.active_if != second.active_if or "depth" in (first.kind, second.kind):
            raise UnsupportedError(
                f"a rule can not tie {first.name!r} to {second.name!r}: tie genes of one block, and no depth gene"
            )


def _group(
    genes: Sequence[Gene], members: list[int], rules: Sequence[PairRule], allowed: Mapping[str, Sequence[int]]
) -> GeneGroup:
    sizes = [len(genes[i].choices) for i in members]
    if int(np.prod(sizes, dtype=np.float64)) > _LARGEST_GROUP:
        names = ", ".join(genes[i].name for i in members)
        raise UnsupportedError(f"rules tie too many genes together ({names}): split the rules into smaller groups")
    every = np.array(list(itertools.product(*map(range, sizes))), dtype=np.uint8)
    valid = np.ones(len(every), dtype=bool)
    column = {genes[i].name: k for k, i in enumerate(members)}
    for k, i in enumerate(members):
        valid &= np.isin(every[:, k], list(allowed[genes[i].name]))
    for rule in rules:
        if rule.first in column:
            valid &= _pairs_allowed(genes, members, column, rule, every)
    if not valid.any():
        names = ", ".join(genes[i].name for i in members)
        raise UnsupportedError(f"no choice is left for {names}: loosen the restriction or choose another device")
    rows = every[valid]
    radix = np.array([int(np.prod(sizes[k + 1 :], dtype=np.int64)) for k in range(len(sizes))], dtype=np.int64)
    return GeneGroup(np.array(members), rows, radix, _nearest(every, rows), valid)


def _pairs_allowed(
    genes: Sequence[Gene], members: list[int], column: Mapping[str, int], rule: PairRule, every: Genomes
) -> NDArray[np.bool_]:
    a, b = column[rule.first], column[rule.second]
    first, second = genes[members[a]].choices, genes[members[b]].choices
    table = np.array([[(x, y) in rule.allowed for y in second] for x in first], dtype=bool)
    chosen: NDArray[np.bool_] = table[every[:, a], every[:, b]]
    return chosen


def _nearest(every: Genomes, rows: Genomes) -> NDArray[np.intp]:
    """For each combination the valid row with the fewest changed genes, then the smallest steps."""
    result = np.empty(len(every), dtype=np.intp)
    scale = 1 + int(every.max(initial=0)) * every.shape[1]
    for i, one in enumerate(every):
        steps = np.abs(rows.astype(np.int64) - one.astype(np.int64))
        result[i] = int(np.argmin((steps != 0).sum(1) * scale + steps.sum(1)))
    return result
