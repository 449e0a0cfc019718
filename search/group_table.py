"""A space's groups of tied genes as padded arrays, so that single groups of many genomes change at once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import GeneGroup, Genomes
from bitfront.supernet.space import SearchSpace

Picks = NDArray[np.intp]
T = TypeVar("T", bound=np.generic)


class GroupTable:
    """Reads and writes single groups of genomes as *picks*: numbers of valid combinations.

    ``counts`` (n_groups,) says how many valid combinations each group has, ``leaders`` (n_groups,) its first gene,
    and ``group_of`` (n_genes,) where each gene belongs.
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
        lines = [_Lines(group) for group in groups]
        self._n_free = np.array([len(line.free) for line in lines], dtype=np.intp)
        self._line_at = np.array([0, *np.cumsum([line.order.size for line in lines])[:-1]], dtype=np.intp)
        self._order, self._place, self._start, self._length = (
            np.concatenate([getattr(line, name).ravel() for line in lines])
            for name in ("order", "place", "start", "length")
        )

    def picks(self, genomes: Genomes, rows: Picks, groups: Picks) -> Picks:
        """Which valid combination group ``groups[i]`` of genome ``rows[i]`` is in; the nearest one if in none."""
        numbers = (genomes[rows[:, None], self._members[groups]] * self._radix[groups]).sum(axis=1)
        picks: Picks = self._lookup[self._lookup_at[groups] + numbers]
        return picks

    def write(self, genomes: Genomes, rows: Picks, groups: Picks, picks: Picks) -> None:
        """Put group ``groups[i]`` of genome ``rows[i]`` into its valid combination ``picks[i]``, in place."""
        genomes[rows[:, None], self._members[groups]] = self._values[self._values_at[groups] + picks]

    def other(self, groups: Picks, picks: Picks, rng: np.random.Generator) -> Picks:
        """Any other combination of each group, each as likely; groups must have more than one."""
        counts = self.counts[groups]
        others: Picks = (picks + rng.integers(1, counts)) % counts
        return others

    def with_one_gene_changed(
        self, groups: Picks, picks: Picks, neighbours: NDArray[np.bool_], rng: np.random.Generator
    ) -> Picks:
        """Combinations in which one gene differs: by one step where ``neighbours``, else by any.

        The gene is any that has a choice, and its values go round, so that from the largest one step leads to the
        smallest: a walk of such steps is at the ends as often as in the middle. Where rules leave a gene no other
        value beside the others' present ones, any other combination is taken.
        """
        members = (rng.random(len(groups)) * self._n_free[groups]).astype(np.intp)
        line = self._line_at[groups] + members * self.counts[groups]
        place, start, length = (part[line + picks] for part in (self._place, self._start, self._length))
        many = np.maximum(length, 2)
        steps = np.where(neighbours, rng.choice((-1, 1), size=len(groups)), rng.integers(1, many))
        moved = self._order[line + start + (place - start + steps) % length]
        changed: Picks = np.where(length > 1, moved, self.other(groups, picks, rng))
        return changed


class _Lines:
    """A group's combinations in lines along which a single gene changes, each in the order of its choices.

    ``order`` (free, n_rows) are rows line by line; ``place`` (free, n_rows) where a row stands in it, ``start``
    where its line begins, and ``length`` how long that line is. ``free`` are the members that change anywhere.
    """

    def __init__(self, group: GeneGroup) -> None:
        rows = group.rows.astype(np.int64)
        self.free = np.flatnonzero(np.ptp(rows, axis=0) > 0)
        shape = (len(self.free), len(rows))
        self.order, self.place, self.start, self.length = (np.zeros(shape, dtype=np.intp) for _ in range(4))
        numbers = rows @ group.radix
        for k, member in enumerate(self.free):
            others = numbers - rows[:, member] * group.radix[member]
            self.order[k] = np.lexsort((rows[:, member], others))
            self.place[k, self.order[k]] = np.arange(len(rows))
            _, first, line, length = np.unique(
                others[self.order[k]], return_index=True, return_inverse=True, return_counts=True
            )
            self.start[k, self.order[k]], self.length[k, self.order[k]] = first[line], length[line]


def _padded(array: NDArray[T], length: int) -> NDArray[T]:
    return np.concatenate([array, *[array[:1]] * (length - len(array))])


def _starts(lengths: list[int]) -> Picks:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)
