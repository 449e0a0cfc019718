"""Genes, the rules that tie genes, and the independent groups of genes that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnknownNameError, UnsupportedError

Choice = int | str
GeneKind = Literal["resolution", "depth", "kernel", "width", "weight_format", "activation_format"]
Genomes = NDArray[np.uint8]

_LARGEST_GROUP = 1 << 20
_REPAIRED_AT_ONCE = 64


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
class Rule:
    """Which choices of some genes go together: ``allowed`` holds one value per gene of ``genes``.

    All genes must be active under the same condition, and none may be a depth gene.
    """

    genes: tuple[str, ...]
    allowed: frozenset[tuple[Choice, ...]]

    @classmethod
    def pair(cls, first: str, second: str, allowed: frozenset[tuple[Choice, Choice]]) -> Self:
        """The rule of two genes."""
        return cls((first, second), allowed)

    def rows_of(self, genes: Iterable[Gene]) -> list[tuple[Choice, ...]]:
        """What is allowed of the choices that these genes, those of the rule in its order, have."""
        tied = tuple(genes)
        return [row for row in self.allowed if all(v in gene.choices for v, gene in zip(row, tied, strict=True))]


@dataclass(frozen=True, slots=True)
class FormatPair:
    """The two genes that name one layer's formats, and the operator that must execute them."""

    op: str
    weight_gene: str
    activation_gene: str


@dataclass(frozen=True)
class GeneGroup:
    """Genes that rules tie together, with every valid combination of their choices.

    ``members`` are gene positions and ``sizes`` how many choices they have; ``rows`` has shape (n_valid,
    len(members)); ``valid`` says of the mixed-radix number of any combination whether it is among them.
    """

    members: NDArray[np.intp]
    sizes: tuple[int, ...]
    rows: Genomes
    radix: NDArray[np.int64]
    valid: NDArray[np.bool_]

    @cached_property
    def nearest(self) -> NDArray[np.intp]:
        """By a combination's number the row that repairs it: fewest changed genes, then smallest steps."""
        return _nearest(self.sizes, self.rows.tobytes())

    def number(self, genomes: Genomes) -> NDArray[np.int64]:
        """Mixed-radix number of this group's part of each genome, shape (n,)."""
        return genomes[:, self.members].astype(np.int64) @ self.radix


def build_groups(
    genes: Sequence[Gene], rules: Iterable[Rule], allowed: Mapping[str, Sequence[int]]
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
        for name in rule.genes[1:]:
            parent[root(position[name])] = root(position[rule.genes[0]])
    components: dict[int, list[int]] = {}
    for i in range(len(genes)):
        components.setdefault(root(i), []).append(i)
    return tuple(_group(genes, members, rules, allowed) for members in components.values())


def _check_rules(genes: Sequence[Gene], rules: Iterable[Rule]) -> None:
    by_name = {gene.name: gene for gene in genes}
    for rule in rules:
        for name in rule.genes:
            if name not in by_name:
                raise UnknownNameError("gene in a rule", name, by_name)
        first, *others = (by_name[name] for name in rule.genes)
        for gene in others:
            if gene.active_if != first.active_if or "depth" in (first.kind, gene.kind):
                raise UnsupportedError(
                    f"a rule can not tie {first.name!r} to {gene.name!r}: tie genes of one block, and no depth"
                )


def _group(
    genes: Sequence[Gene], members: list[int], rules: Sequence[Rule], allowed: Mapping[str, Sequence[int]]
) -> GeneGroup:
    sizes = tuple(len(genes[i].choices) for i in members)
    if math.prod(sizes) > _LARGEST_GROUP:
        names = ", ".join(genes[i].name for i in members)
        raise UnsupportedError(f"rules tie too many genes together ({names}): split the rules into smaller groups")
    every = _combinations(sizes)
    valid = np.ones(len(every), dtype=bool)
    column = {genes[i].name: k for k, i in enumerate(members)}
    for k, i in enumerate(members):
        valid &= np.isin(every[:, k], list(allowed[genes[i].name]))
    for rule in rules:
        if rule.genes[0] in column:
            valid &= _rule_allows(rule, [genes[members[column[name]]] for name in rule.genes], every, column)
    if not valid.any():
        names = ", ".join(genes[i].name for i in members)
        raise UnsupportedError(f"no choice is left for {names}: loosen the restriction or choose another device")
    return GeneGroup(np.array(members), sizes, every[valid], _radix(sizes), valid)


def _combinations(sizes: tuple[int, ...]) -> Genomes:
    """Every combination of choice indices in the order of its mixed-radix number, shape (n, len(sizes))."""
    return np.indices(sizes, dtype=np.uint8).reshape(len(sizes), -1).T


def _radix(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array([math.prod(sizes[k + 1 :]) for k in range(len(sizes))], dtype=np.int64)


def _rule_allows(rule: Rule, tied: Sequence[Gene], every: Genomes, column: Mapping[str, int]) -> NDArray[np.bool_]:
    """Which combinations of a group's genes a rule allows."""
    sizes = tuple(len(gene.choices) for gene in tied)
    position = [{choice: i for i, choice in enumerate(gene.choices)} for gene in tied]
    table = np.zeros(math.prod(sizes), dtype=bool)
    radix = _radix(sizes)
    for values in rule.allowed:
        places = [where.get(value, -1) for where, value in zip(position, values, strict=True)]
        if min(places) >= 0:  # a device may allow formats that the space does not have
            table[int(np.dot(places, radix))] = True
    chosen: NDArray[np.bool_] = table[every[:, [column[name] for name in rule.genes]].astype(np.int64) @ radix]
    return chosen


@lru_cache(maxsize=64)  # the blocks of a stage have equal groups
def _nearest(sizes: tuple[int, ...], valid_rows: bytes) -> NDArray[np.intp]:
    rows = np.frombuffer(valid_rows, dtype=np.uint8).reshape(-1, len(sizes))
    result = np.full(math.prod(sizes), -1, dtype=np.intp)
    result[rows.astype(np.int64) @ _radix(sizes)] = np.arange(len(rows))
    every, scale = _combinations(sizes).astype(np.int16), 1 + max(sizes) * len(sizes)
    invalid = np.flatnonzero(result < 0)
    for start in range(0, len(invalid), _REPAIRED_AT_ONCE):
        some = invalid[start : start + _REPAIRED_AT_ONCE]
        steps = np.abs(every[some][:, None] - rows.astype(np.int16))
        result[some] = np.argmin((steps != 0).sum(2) * scale + steps.sum(2), axis=1)
    return result
