"""Search spaces: genes, activity, canonical form, encoding and layers. Batch first.

Genomes are ``uint8`` arrays of shape (n, n_genes) that hold choice *indices*. A genome is canonical when the
genes of skipped blocks are 0; two canonical genomes are equal exactly when they build the same network.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitfront.supernet.channel_groups import ChannelGroup, channel_groups
from bitfront.supernet.errors import InvalidGenomeError, UnknownNameError
from bitfront.supernet.fixed_genes import Fixed, fixed_choices
from bitfront.supernet.gate_rules import gate_rule
from bitfront.supernet.genes import (
    Choice,
    FormatPair,
    Gene,
    GeneGroup,
    GeneKind,
    Genomes,
    Rule,
    build_groups,
)
from bitfront.supernet.layers import Block, Layer

Uniform = Literal["genes", "sizes", "points"]
_INTEGER, _FLOAT = "int8", "fp32"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a block: the genes that shape it and the condition under which it exists.

    A cost model tabulates a slot over the product of its genes' choices. ``build`` takes one choice value per
    gene of ``genes`` and returns the block. ``active_if`` is as in `Gene`.
    """

    name: str
    genes: tuple[str, ...]
    active_if: tuple[str, int] | None
    build: Callable[[tuple[Choice, ...]], Block]


class SearchSpace(ABC):
    """A finite set of networks, as vectors of gene choices.

    Subclasses say what a genome builds (`slots`); all handling of genomes is final and lives here.
    """

    def __init__(
        self,
        name: str,
        genes: Sequence[Gene],
        format_pairs: Sequence[FormatPair] = (),
        rules: Sequence[Rule] = (),
    ) -> None:
        self.name = name
        self.genes = tuple(genes)
        self.format_pairs = tuple(format_pairs)
        self.position = {gene.name: i for i, gene in enumerate(self.genes)}
        self.cardinalities = np.array([len(gene.choices) for gene in self.genes], dtype=np.int64)
        self._check_activity()
        self._rules = tuple(rules)
        self._allowed: dict[str, tuple[int, ...]] = {g.name: tuple(range(len(g.choices))) for g in self.genes}
        self._rebuild()
        self._column = self._columns()

    # -- what a subclass says ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def slots(self) -> tuple[Slot, ...]:
        """The network's blocks from input to output, each with the genes that shape it."""

    @property
    @abstractmethod
    def config(self) -> Any:
        """Plain JSON-able description of everything beside the genes that shapes the networks."""

    # -- sizes ------------------------------------------------------------------------------------------

    @property
    def n_genes(self) -> int:
        """Genes in a genome."""
        return len(self.genes)

    @property
    def architecture_width(self) -> int:
        """Columns of `encode` that speak of architecture; they come first."""
        return sum(len(gene.choices) for gene in self.genes if not gene.is_policy)

    @property
    def encoding_width(self) -> int:
        """All columns of `encode`; those after `architecture_width` speak of the bit-width policy."""
        return int(self.cardinalities.sum())

    @property
    def columns(self) -> NDArray[np.intp]:
        """The first column of each gene in `encode`, shape (n_genes,)."""
        return self._column.copy()

    def size(self) -> int:
        """Exact number of different networks (canonical, valid genomes)."""
        total = 1
        for group in self._groups:
            owner = self.genes[group.members[0]]
            if owner.active_if is None and owner.name not in self._dependents:
                total *= len(group.rows)
        for depth in self._dependents:
            total *= sum(self._ways(depth, index) for index in self._allowed[depth])
        return total

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that tie genes, those of restrictions included."""
        return self._rules

    @property
    def groups(self) -> tuple[GeneGroup, ...]:
        """Independent groups of genes with their valid combinations; a free gene is a group of its own."""
        return self._groups

    # -- genomes ----------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator, uniform_over: Uniform = "genes") -> Genomes:
        """Draw ``n`` canonical, valid genomes, shape (n, n_genes), without rejection.

        ``"genes"``: every group of tied genes is uniform over its valid combinations, independently; shallow
        networks are seen as often as deep ones. ``"sizes"``: each group alone is still uniform, but the groups of
        one genome lean the same way, towards their small or their large combinations, and so do its formats apart
        from them: independent groups average out and give middling networks only, these reach from the smallest
        to the largest (a group's place is beta-binomial with both parameters 1). ``"points"``: every network of
        the space is equally likely; deep ones dominate, as there are more of them.

        Raises:
            UnknownNameError: ``uniform_over`` is none of these.
        """
        if uniform_over not in get_args(Uniform):
            raise UnknownNameError("way to sample", uniform_over, get_args(Uniform))
        genomes = np.zeros((n, self.n_genes), dtype=np.uint8)
        lean = rng.random((2, n)) if uniform_over == "sizes" else None
        for group in self._groups:
            rows = group.rows
            if lean is not None:
                rows = rows[np.lexsort((rng.random(len(rows)), rows.sum(axis=1)))]  # ties favour no gene
                picks = rng.binomial(len(rows) - 1, lean[int(self.genes[group.members[0]].is_policy)])
            else:
                weights = self._weights(group.members[0], rows) if uniform_over == "points" else None
                picks = rng.choice(len(rows), size=n, p=weights)
            genomes[:, group.members] = rows[picks]
        return self.canonical(genomes)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Which genes shape the network, shape (n, n_genes)."""
        result: NDArray[np.bool_] = genomes[:, self._owner] >= self._threshold
        return result

    def canonical(self, genomes: Genomes) -> Genomes:
        """A copy with the genes of skipped blocks set to 0."""
        return np.where(self.active(genomes), genomes, np.uint8(0)).astype(np.uint8)

    def repair(self, genomes: Genomes) -> Genomes:
        """Canonical copy with each invalid group of genes moved to its nearest valid combination."""
        fixed = genomes.copy()
        for group in self._groups:
            if not group.valid.all():
                fixed[:, group.members] = group.rows[group.nearest[group.number(fixed)]]
        return self.canonical(fixed)

    def valid(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether the active genes of each genome obey every rule and restriction, shape (n,)."""
        active = self.active(genomes)
        result = np.ones(len(genomes), dtype=bool)
        for group in self._groups:
            if not group.valid.all():
                result &= group.valid[group.number(genomes)] | ~active[:, group.members[0]]
        return result

    def check(self, genomes: ArrayLike) -> Genomes:
        """Accept anything array-like as canonical genomes of this space.

        Raises:
            InvalidGenomeError: wrong shape or type, an index out of range, a forbidden combination or a
                non-canonical genome; the message names row, gene, value and the valid choices.
        """
        try:
            array = np.asarray(genomes)
        except ValueError as error:
            raise InvalidGenomeError(f"genomes are rows of {self.n_genes} choice indices each: {error}") from error
        if array.ndim != 2 or array.shape[1] != self.n_genes:
            raise InvalidGenomeError(
                f"genomes of space {self.name!r} have shape (n, {self.n_genes}), got {array.shape}: "
                "was this genome made for another space?"
            )
        if not np.issubdtype(array.dtype, np.integer):
            raise InvalidGenomeError(f"genomes hold choice indices (integers), got {array.dtype}")
        outside = (array < 0) | (array >= self.cardinalities)
        if outside.any():
            row, gene = np.argwhere(outside)[0]
            raise InvalidGenomeError(self._out_of_range(int(row), int(gene), int(array[row, gene])))
        genomes_ = array.astype(np.uint8)
        self._check_rules(genomes_)
        return genomes_

    def encode(self, genomes: Genomes) -> NDArray[np.float32]:
        """One-hot of the active genes, shape (n, encoding_width); columns of skipped blocks are all 0.

        Architecture columns come first and policy columns after them, so that a predictor trained on the
        first `architecture_width` columns can have the rest joined (APQ, Wang et al. 2020, section 3.3).
        """
        encoded = np.zeros((len(genomes), self.encoding_width), dtype=np.float32)
        places = np.arange(len(genomes))[:, None] * self.encoding_width + self._column
        places += genomes
        encoded.reshape(-1)[places] = self.active(genomes)
        return encoded

    def decode(self, genome: NDArray[np.uint8]) -> dict[str, Choice]:
        """Choice values of the active genes of one genome, shape (n_genes,)."""
        active = self.active(genome[None])[0]
        return {g.name: g.choices[genome[i]] for i, g in enumerate(self.genes) if active[i]}

    def genome(self, choices: Mapping[str, Choice]) -> NDArray[np.uint8]:
        """The canonical genome with the given choice values; genes not named take their first choice.

        Raises:
            UnknownNameError: a gene name is unknown.
            InvalidGenomeError: a value is not among a gene's choices, or a combination is forbidden.
        """
        result = np.zeros(self.n_genes, dtype=np.uint8)
        for name, value in choices.items():
            result[self._gene_position(name)] = self._index(name, value)
        checked = self.canonical(result[None])
        self._check_rules(checked)
        first: NDArray[np.uint8] = checked[0]
        return first

    def assign(self, genomes: Genomes, choices: Mapping[GeneKind, Choice]) -> Genomes:
        """A canonical copy with all active genes of a kind set to a value, where the gene has that value."""
        result = genomes.copy()
        for i, gene in enumerate(self.genes):
            if gene.kind in choices and choices[gene.kind] in gene.choices:
                result[:, i] = gene.choices.index(choices[gene.kind])
        return self.canonical(result)

    def extremes(self) -> Genomes:
        """The smallest and the largest architecture, shape (2, n_genes), each format the first that is allowed."""
        largest = np.array([0 if g.is_policy else len(g.choices) - 1 for g in self.genes], dtype=np.uint8)
        return self.repair(np.stack([np.zeros(self.n_genes, dtype=np.uint8), largest]))

    def blocks(self, genome: NDArray[np.uint8]) -> tuple[Block, ...]:
        """The active blocks of one genome, from input to output."""
        built = []
        for slot in self.slots:
            if slot.active_if is None or genome[self.position[slot.active_if[0]]] >= slot.active_if[1]:
                values = tuple(self.genes[(i := self.position[g])].choices[genome[i]] for g in slot.genes)
                built.append(slot.build(values))
        return tuple(built)

    def layers(self, genome: NDArray[np.uint8]) -> tuple[Layer, ...]:
        """The weighted layers of one genome, from input to output."""
        return tuple(layer for block in self.blocks(genome) for layer in block.layers)

    # -- what a supernet is built from --------------------------------------------------------------------

    @cached_property
    def largest_blocks(self) -> tuple[Block, ...]:
        """Every block at its largest, whatever is restricted, from input to output.

        Every layer that any network of the space has is among theirs, with at least as many channels and pixels.
        """
        return tuple(slot.build(self._largest(slot)) for slot in self.slots)

    def kernels_of(self, layer: str) -> tuple[int, ...]:
        """The kernel sizes that the layer of this name can have, whatever is restricted, ascending.

        Raises:
            UnknownNameError: no network of the space has such a layer.
        """
        if layer not in self._kernels:
            raise UnknownNameError(f"layer of space {self.name!r}", layer, self._kernels)
        return self._kernels[layer]

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """Every number format that a layer can have, whatever is restricted."""
        chosen = [str(choice) for gene in self.genes if gene.is_policy for choice in gene.choices]
        # Squeeze and excitation has no genes of its own: it has these beside a block of integers or of none.
        derived = [_INTEGER, _FLOAT] if any(one.gate for one in self._largest_layers()) else []
        return tuple(dict.fromkeys([*chosen, *derived]))

    @cached_property
    def hidden_channels(self) -> tuple[ChannelGroup, ...]:
        """The elastic hidden channels, which a supernet sorts by importance, from input to output."""
        return tuple(
            group
            for slot, block in zip(self.slots, self.largest_blocks, strict=True)
            if any(self.genes[self.position[name]].kind == "width" for name in slot.genes)
            for group in channel_groups(block)
        )

    def _largest_layers(self) -> Iterator[Layer]:
        return (layer for block in self.largest_blocks for layer in block.layers)

    def _largest(self, slot: Slot) -> tuple[Choice, ...]:
        genes = [self.genes[self.position[name]] for name in slot.genes]
        return tuple(gene.choices[0 if gene.is_policy else -1] for gene in genes)

    @cached_property
    def _kernels(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, set[int]] = {layer.name: {layer.kernel} for layer in self._largest_layers()}
        for slot in self.slots:
            largest = self._largest(slot)
            for i, name in enumerate(slot.genes):
                gene = self.genes[self.position[name]]
                for choice in gene.choices if gene.kind == "kernel" else ():
                    for layer in slot.build((*largest[:i], choice, *largest[i + 1 :])).layers:
                        found[layer.name].add(layer.kernel)
        return {name: tuple(sorted(kernels)) for name, kernels in found.items()}

    # -- restriction ------------------------------------------------------------------------------------

    def restrict(
        self, allowed: Mapping[str, Collection[Choice]] | None = None, rules: Sequence[Rule] = ()
    ) -> Self:
        """The same space with fewer points: genomes, encoding and hash keep their meaning.

        Args:
            allowed: gene name to the choice values that stay.
            rules: further rules.

        Raises:
            UnknownNameError: a gene is unknown.
            InvalidGenomeError: a value is not among a gene's choices.
            UnsupportedError: nothing is left of some gene, or a rule ties genes that it may not tie.
        """
        smaller = copy.copy(self)
        smaller._allowed = dict(self._allowed)
        for name, values in (allowed or {}).items():
            kept = {self._index(name, value) for value in values}
            smaller._allowed[name] = tuple(i for i in self._allowed[name] if i in kept)
        smaller._rules = self._rules + tuple(rules)
        smaller._rebuild()
        return smaller

    def fix(self, genes: Mapping[str, Fixed]) -> Self:
        """`restrict` with patterns: ``space.fix({"stem.*_format": "int8", "*.kernel": [3, 5]})``.

        ``genes``: name or pattern to the choice, or the choices, that stay; `fixed_choices` says what is refused.
        """
        return self.restrict(fixed_choices(self.name, self.genes, genes))

    def restrict_formats(self, executable: Callable[[str], Collection[tuple[str, str]]]) -> Self:
        """Keep the (weight format, activation format) pairs that ``executable(op)`` lists for each layer.

        A gate's layers have no genes: what would give them other pairs goes, too.
        """
        rules = [
            Rule.pair(pair.weight_gene, pair.activation_gene, frozenset(executable(pair.op)))
            for pair in self.format_pairs
        ]
        return self.restrict(rules=[*rules, *self._gate_rules(executable)])

    def _gate_rules(self, executable: Callable[[str], Collection[tuple[str, str]]]) -> Iterator[Rule]:
        for slot, largest in zip(self.slots, self.largest_blocks, strict=True):
            if any(layer.gate for layer in largest.layers):
                genes = [self.genes[self.position[name]] for name in slot.genes]
                rule = gate_rule(genes, slot.build, executable)
                if rule is not None:
                    yield rule

    def allowed_choices(self, name: str) -> tuple[Choice, ...]:
        """The choice values of a gene that restrictions leave (rules may forbid more)."""
        gene = self.genes[self._gene_position(name)]
        return tuple(gene.choices[i] for i in self._allowed[name])

    def hash(self) -> str:
        """SHA-256 of what gives genomes their meaning; restrictions do not change it."""
        genes = [[g.name, g.kind, list(g.choices), g.active_if] for g in self.genes]
        described = json.dumps([self.name, genes, self.config], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()

    # -- inside -----------------------------------------------------------------------------------------

    def _check_activity(self) -> None:
        for gene in self.genes:
            if gene.active_if is not None:
                owner = self.genes[self._gene_position(gene.active_if[0])]
                if owner.kind != "depth" or owner.active_if is not None:
                    raise ValueError(f"gene {gene.name!r} depends on {owner.name!r}, which is no free depth gene")

    def _rebuild(self) -> None:
        self._groups = build_groups(self.genes, self._rules, self._allowed)
        # A gene without a condition compares itself with 0, which always holds.
        conditions = [gene.active_if or (gene.name, 0) for gene in self.genes]
        self._owner = np.array([self.position[name] for name, _ in conditions])
        self._threshold = np.array([index for _, index in conditions], dtype=np.uint8)
        self._dependents: dict[str, list[tuple[int, int]]] = {}
        for gene in self.genes:
            if gene.kind == "depth":
                self._dependents[gene.name] = []
        for group in self._groups:
            condition = self.genes[group.members[0]].active_if
            if condition is not None:
                self._dependents[condition[0]].append((condition[1], len(group.rows)))

    def _ways(self, depth: str, index: int) -> int:
        return math.prod(rows for threshold, rows in self._dependents[depth] if index >= threshold)

    def _weights(self, gene: int, rows: Genomes) -> NDArray[np.float64] | None:
        name = self.genes[gene].name
        if name not in self._dependents:
            return None
        ways = [self._ways(name, int(row[0])) for row in rows]
        return np.array([way / sum(ways) for way in ways])

    def _columns(self) -> NDArray[np.intp]:
        column = np.zeros(self.n_genes, dtype=np.intp)
        cursor = 0
        for policy in (False, True):
            for i, gene in enumerate(self.genes):
                if gene.is_policy == policy:
                    column[i] = cursor
                    cursor += len(gene.choices)
        return column

    def _gene_position(self, name: str) -> int:
        if name not in self.position:
            raise UnknownNameError(f"gene of space {self.name!r}", name, self.position)
        return self.position[name]

    def _index(self, name: str, value: Choice) -> int:
        choices = self.genes[self._gene_position(name)].choices
        if value not in choices:
            raise InvalidGenomeError(f"gene {name!r} can not be {value!r}: choose one of {list(choices)}")
        return choices.index(value)

    def _out_of_range(self, row: int, gene: int, value: int) -> str:
        choices = list(self.genes[gene].choices)
        return (
            f"genome {row}: gene {self.genes[gene].name!r} has index {value}, but its choices are {choices}: "
            f"use an index from 0 to {len(choices) - 1}"
        )

    def _check_rules(self, genomes: Genomes) -> None:
        loose = (genomes != self.canonical(genomes)).any(1)
        if loose.any():
            row = int(np.argmax(loose))
            gene = int(np.argmax(genomes[row] != self.canonical(genomes[row : row + 1])[0]))
            raise InvalidGenomeError(
                f"genome {row}: gene {self.genes[gene].name!r} belongs to a skipped block and must be 0, "
                f"got {int(genomes[row, gene])}: pass it through canonical() first"
            )
        active = self.active(genomes)
        for group in self._groups:
            bad = ~group.valid[group.number(genomes)] & active[:, group.members[0]]
            if bad.any():
                row = int(np.argmax(bad))
                chosen = {self.genes[i].name: self.genes[i].choices[genomes[row, i]] for i in group.members}
                raise InvalidGenomeError(
                    f"genome {row}: the combination {chosen} is not allowed here: pass it through repair(), "
                    "or use a space that is not restricted"
                )
