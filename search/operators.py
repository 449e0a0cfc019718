"""Mating on whole batches: crossover by gene, by block and by stage, and mutation, all within a space's rules.

Genes that rules tie together (say, the weight and activation format of one layer) move as one group, from one
valid combination to another. So children need no repair, and every combination, at the end of a range or in its
middle, is as likely as any other. Only the few groups that really change are touched one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.search.group_table import GroupTable, Picks
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

__all__ = ["CROSSOVERS", "MUTATIONS", "GroupTable", "Mating", "Picks", "Ways"]

Mask = NDArray[np.bool_]

CROSSOVERS = ("group", "block", "run", "stage")
"""What a child takes from its father: groups of genes, blocks, a run of blocks, or stages."""
MUTATIONS = ("combination", "gene", "neighbour")
"""What mutation does to a group: any other combination, any other value of one gene, or the next value of one."""


@dataclass(frozen=True)
class Ways:
    """How each of n children is made: places in `CROSSOVERS` and in `MUTATIONS`, both (n,).

    ``mutations`` (n,): the expected number of active groups that change.
    """

    crossover: Picks
    mutation: Picks
    mutations: NDArray[np.float64]


class Mating:
    """Children of pairs of genomes. ``crossover_rate`` is the share of children that have two parents."""

    def __init__(self, space: SearchSpace, crossover_rate: float = 0.9) -> None:
        self.space = space
        self.crossover_rate = crossover_rate
        self._table = GroupTable(space)
        units, stages = _units(space)
        self._unit_of, self._stage_of = units, stages
        self._n_units, self._n_stages = int(units.max()) + 1, int(stages.max()) + 1

    def ways(self, n: int, rng: np.random.Generator, mutations: float = 1.0) -> Ways:
        """Each way of crossover as likely as any other, and each of mutation."""
        kinds = rng.integers(len(CROSSOVERS), size=n), rng.integers(len(MUTATIONS), size=n)
        return Ways(*kinds, np.full(n, mutations))

    def children(self, mothers: Genomes, fathers: Genomes, rng: np.random.Generator, ways: Ways) -> Genomes:
        """One canonical, valid child per row of ``mothers`` and ``fathers`` (n, n_genes), both canonical.

        Blocks that were skipped in both parents and come to life are drawn anew, or they would all be the block
        of zeros.
        """
        known = self.space.active(mothers) | self.space.active(fathers)
        children = self.crossed(mothers, fathers, rng, ways.crossover)
        self.mutate(children, rng, ways)
        alive = self.space.active(children)
        rows, groups = np.nonzero((alive & ~known)[:, self._table.leaders])
        self._table.write(children, rows, groups, rng.integers(self._table.counts[groups]))
        children[~alive] = 0
        return children

    def crossed(self, mothers: Genomes, fathers: Genomes, rng: np.random.Generator, crossover: Picks) -> Genomes:
        """Genomes (n, n_genes) with each group from either parent; valid, but not canonical.

        A group that is skipped in one parent comes from the other. ``crossover`` (n,): places in `CROSSOVERS`.
        """
        in_mother, in_father = self.space.active(mothers), self.space.active(fathers)
        exchanged = self._exchanged(crossover, rng)[:, self._table.group_of]
        genomes: Genomes = np.where(in_father & (exchanged | ~in_mother), fathers, mothers)
        return genomes

    def mutate(self, genomes: Genomes, rng: np.random.Generator, ways: Ways) -> None:
        """Change active groups of each genome in place, as ``ways`` says."""
        changeable = self.space.active(genomes)[:, self._table.leaders] & (self._table.counts > 1)
        rate = ways.mutations[:, None] / np.maximum(changeable.sum(axis=1, keepdims=True), 1)
        rows, groups = np.nonzero(changeable & (rng.random(changeable.shape, dtype=np.float32) < rate))
        picks, kinds = self._table.picks(genomes, rows, groups), ways.mutation[rows]
        one = self._table.with_one_gene_changed(groups, picks, kinds == MUTATIONS.index("neighbour"), rng)
        whole = kinds == MUTATIONS.index("combination")
        self._table.write(genomes, rows, groups, np.where(whole, self._table.other(groups, picks, rng), one))

    def _exchanged(self, crossover: Picks, rng: np.random.Generator) -> Mask:
        """Which groups come from the father, (n, n_groups)."""
        n = len(crossover)
        exchanged = _coins(n, len(self._unit_of), rng)
        for kind, (count, part_of) in {
            "block": (self._n_units, self._unit_of),
            "stage": (self._n_stages, self._stage_of),
        }.items():
            rows = np.flatnonzero(crossover == CROSSOVERS.index(kind))
            exchanged[rows] = _coins(len(rows), count, rng)[:, part_of]
        rows = np.flatnonzero(crossover == CROSSOVERS.index("run"))
        ends = np.sort(rng.integers(self._n_units + 1, size=(len(rows), 2)), axis=1)
        exchanged[rows] = (self._unit_of >= ends[:, :1]) & (self._unit_of < ends[:, 1:])
        exchanged &= rng.random((n, 1)) < self.crossover_rate
        return exchanged


def _coins(n: int, columns: int, rng: np.random.Generator) -> Mask:
    size = n * columns
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), dtype=np.uint8), count=size)
    return bits.view(np.bool_).reshape(n, columns)


def _units(space: SearchSpace) -> tuple[Picks, Picks]:
    """For each group its block and its stage, counted from the input as 1, 2, ...; 0 is what many blocks share.

    A depth gene goes with the first block that depends on it. A stage begins with the first block that is always
    there after one that may be skipped.
    """
    homes: dict[str, list[int]] = {gene.name: [] for gene in space.genes}
    stages, skippable = [0], True
    for number, slot in enumerate(space.slots, start=1):
        stages.append(stages[-1] + (skippable and slot.active_if is None))
        skippable = slot.active_if is not None
        for gene in slot.genes:
            homes[gene].append(number)
        if slot.active_if is not None and not homes[slot.active_if[0]]:
            homes[slot.active_if[0]].append(number)
    leaders = [space.genes[group.members[0]].name for group in space.groups]
    units = np.array([homes[name][0] if len(homes[name]) == 1 else 0 for name in leaders], dtype=np.intp)
    return units, np.array(stages, dtype=np.intp)[units]
