"""Mating on whole batches: crossover by gene, by block and by stage, and mutation, all within a space's rules.

Genes that rules tie together (say, the weight and activation format of one layer) move as one group, from one
valid combination to another. So children need no repair, and every combination, at the end of a range or in its
middle, is as likely as any other. Only the few groups that really change are touched one by one.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Picks = NDArray[np.intp]
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)


class GroupTable:
    """A space's groups of tied genes as padded arrays, so that single groups of many genomes change at once.

    ``counts`` (n_groups,) says how many valid combinations each group has, ``group_of`` (n_genes,) where each
    gene belongs.
    """

    def __init__(self, space: SearchSpace) -> None:
        groups = space.groups
        self.counts = np.array([len(group.rows) for group in groups], dtype=np.intp)
        self.leaders = np.array([group.members[0] for group in groups], dtype=np.intp)
        self.group_of = np.empty(space.n_genes, dtype=np.intp)
        for number, group in enumerate(groups):
            self.group_of[group.members] = number
        # Narrow groups are padded with their first member, which then only takes its own value once more.
        widest = max(len(group.members) for group in groups)
        self._members = np.stack([_padded(group.members, widest) for group in groups])
        self._radix = np.stack([np.pad(group.radix, (0, widest - len(group.radix))) for group in groups])
        self._values = np.concatenate([_padded(group.rows.T, widest).T for group in groups])
        self._values_at = _starts([len(group.rows) for group in groups])
        self._lookup = np.concatenate([group.nearest for group in groups])
        self._lookup_at = _starts([len(group.nearest) for group in groups])

    def picks(self, genomes: Genomes, rows: Picks, groups: Picks) -> Picks:
        """Which valid combination group ``groups[i]`` of genome ``rows[i]`` is in; the nearest one if in none."""
        numbers = (genomes[rows[:, None], self._members[groups]] * self._radix[groups]).sum(axis=1)
        picks: Picks = self._lookup[self._lookup_at[groups] + numbers]
        return picks

    def write(self, genomes: Genomes, rows: Picks, groups: Picks, picks: Picks) -> None:
        """Put group ``groups[i]`` of genome ``rows[i]`` into its valid combination ``picks[i]``, in place."""
        genomes[rows[:, None], self._members[groups]] = self._values[self._values_at[groups] + picks]


class Mating:
    """Children of pairs of genomes. ``crossover_rate`` is the share of children that have two parents."""

    def __init__(self, space: SearchSpace, crossover_rate: float = 0.9) -> None:
        self.space = space
        self.crossover_rate = crossover_rate
        self._table = GroupTable(space)
        self._unit_of = _units(space)
        self._n_units = int(self._unit_of.max()) + 1

    def children(
        self, mothers: Genomes, fathers: Genomes, rng: np.random.Generator, mutations: float = 1.0
    ) -> Genomes:
        """One canonical, valid child per row of ``mothers`` and ``fathers`` (n, n_genes), both canonical.

        ``mutations`` is the expected number of active groups that change in each child.
        """
        children = self.crossed(mothers, fathers, rng)
        self.mutate(children, rng, mutations)
        return self.space.canonical(children)

    def crossed(self, mothers: Genomes, fathers: Genomes, rng: np.random.Generator) -> Genomes:
        """Genomes (n, n_genes) with each group from either parent; valid, but not canonical.

        A group that is skipped in one parent comes from the other; one that is skipped in both is drawn anew,
        so that a block which comes to life is not always the one of all zeros.
        """
        in_mother, in_father = self.space.active(mothers), self.space.active(fathers)
        exchanged = self._exchanged(len(mothers), rng)[:, self._table.group_of]
        genomes: Genomes = np.where(in_father & (exchanged | ~in_mother), fathers, mothers)
        rows, groups = np.nonzero(~(in_mother | in_father)[:, self._table.leaders])
        self._table.write(genomes, rows, groups, rng.integers(self._table.counts[groups]))
        return genomes

    def mutate(self, genomes: Genomes, rng: np.random.Generator, mutations: float) -> None:
        """Let about ``mutations`` active groups of each genome take any of their other combinations, in place."""
        counts = self._table.counts
        changeable = self.space.active(genomes)[:, self._table.leaders] & (counts > 1)
        rate = mutations / np.maximum(changeable.sum(axis=1, keepdims=True), 1)
        rows, groups = np.nonzero(changeable & (rng.random(changeable.shape, dtype=np.float32) < rate))
        step = rng.integers(1, counts[groups])
        picks = (self._table.picks(genomes, rows, groups) + step) % counts[groups]
        self._table.write(genomes, rows, groups, picks)

    def _exchanged(self, n: int, rng: np.random.Generator) -> Mask:
        """Which groups come from the father, (n, n_groups): by group, by block, or a run of blocks, by turns."""
        kind = rng.integers(3, size=(n, 1))
        by_block = _coins(n, self._n_units, rng)[:, self._unit_of]
        ends = np.sort(rng.integers(self._n_units + 1, size=(n, 2)), axis=1)
        by_run = (self._unit_of >= ends[:, :1]) & (self._unit_of < ends[:, 1:])
        by_group = _coins(n, len(self._unit_of), rng)
        mated = rng.random((n, 1)) < self.crossover_rate
        return mated & np.where(kind == 0, by_group, np.where(kind == 1, by_block, by_run))


def _coins(n: int, columns: int, rng: np.random.Generator) -> Mask:
    size = n * columns
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), dtype=np.uint8), count=size)
    return bits.view(np.bool_).reshape(n, columns)


def _padded(array: NDArray[T], length: int) -> NDArray[T]:
    return np.concatenate([array, *[array[:1]] * (length - len(array))])


def _starts(lengths: list[int]) -> NDArray[np.intp]:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)


def _units(space: SearchSpace) -> NDArray[np.intp]:
    """For each group the block it belongs to, counted from the input as 1, 2, ...; 0 is what many blocks share.

    A depth gene goes with the first block that depends on it.
    """
    homes: dict[str, list[int]] = {gene.name: [] for gene in space.genes}
    for number, slot in enumerate(space.slots, start=1):
        for gene in slot.genes:
            homes[gene].append(number)
        if slot.active_if is not None and not homes[slot.active_if[0]]:
            homes[slot.active_if[0]].append(number)
    leaders = [space.genes[group.members[0]].name for group in space.groups]
    return np.array([homes[name][0] if len(homes[name]) == 1 else 0 for name in leaders], dtype=np.intp)
