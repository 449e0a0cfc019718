"""NSGA-II (Deb et al. 2002) on arrays: sorting and crowding from pymoo, mating made for search spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.credit import Credit
from bitfront.search.hashes import places
from bitfront.search.operators import CROSSOVERS, MUTATIONS, Mating, Ways
from bitfront.search.problem import Evaluation, Problem
from bitfront.search.seeders import SEEDERS
from bitfront.search.selection import parents
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes

_SORTING = NonDominatedSorting()
_CROWDING = get_crowding_function("cd")
_MORE_MUTATIONS = 1.5
_MUCH = np.array([0.5, 1.0, 2.0, 4.0])


class Nsga2(Strategy):
    """Keeps the best `population` candidates by constraint domination, rank and crowding, and mates them.

    How children are made (the kind of crossover, the kind of mutation, how much of it) adapts: ways whose children
    came on the front of everything scored are taken more often (see `Credit`).

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: survivors and children per generation, at least 1.
        crossover_rate: share of children with two parents, 0..1.
        mutations: expected number of groups of genes that mutation changes in a child, above 0; children take
            from half to four times as much, and more while they turn out to be known already.
        seeds: name of a `SEEDERS` entry: what the first generation begins with.

    Raises:
        InvalidOptionError: an option is out of its range.
        UnknownNameError: there is no such seeder.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        crossover_rate: float = 0.9,
        mutations: float = 0.5,
        seeds: str = "uniform",
    ) -> None:
        super().__init__(problem, rng, population=population)
        if not 0 <= crossover_rate <= 1:
            raise InvalidOptionError(f"crossover_rate is {crossover_rate}: it must be from 0 to 1")
        if not mutations > 0:
            raise InvalidOptionError(f"mutations is {mutations}: it must be above 0")
        self.mutations = mutations
        self._expected = mutations  # of the genes that a child is free to change
        self._seeds = SEEDERS.get(seeds)
        self._mating = Mating(problem.space, crossover_rate)
        self._credits = [Credit(n) for n in (len(CROSSOVERS), len(MUTATIONS), len(_MUCH))]
        self._members: Rows = np.empty(0, dtype=np.intp)  # rows of the archive, the fittest first
        self._forget()

    def _forget(self) -> None:
        self._drawn: Genomes = self._nothing()
        self._made: Rows = np.empty((0, len(self._credits)), dtype=np.intp)

    def _propose(self, n: int) -> Genomes:
        return self._bred(n) if len(self._members) else self._begun(n)

    def _begun(self, n: int) -> Genomes:
        """A first generation: seeds, then draws of all sizes."""
        self._forget()
        seeds = self._seeds(self._begin_in(), self.rng, n)
        return self._unseen(n, lambda wanted, number: self._first(wanted, number, seeds))

    def _begin_in(self) -> Problem:
        """The problem that seeds and first draws are of."""
        return self.problem

    def _bred(self, n: int) -> Genomes:
        """Children of the members."""
        self._forget()
        found = self._unseen(n, self._children)
        rows = places(found, self._drawn)
        self._drawn, self._made = found, np.where(rows[:, None] < 0, 0, self._made[rows])
        return found

    def _first(self, wanted: int, number: int, seeds: Genomes) -> Genomes:
        drawn = self._begin_in().space.sample(wanted, self.rng, "sizes")
        return drawn if number else np.concatenate([seeds, drawn])

    def _children(self, wanted: int, number: int) -> Genomes:
        scores = self.archive.evaluation.take(self._members)
        mothers, fathers = parents(scores.F, scores.violation, wanted, self.rng)
        genomes = self.archive.genomes[self._members]
        made = np.stack([credit.draw(wanted, self.rng) for credit in self._credits], axis=1)
        mutations = self._expected * _MUCH[made[:, 2]] * _MORE_MUTATIONS**number
        ways = Ways(made[:, 0], made[:, 1], mutations)
        children = self._mating.children(genomes[mothers], genomes[fathers], self.rng, ways)
        children = self._held(genomes[mothers], children)
        self._drawn = np.concatenate([self._drawn, children])
        self._made = np.concatenate([self._made, made])
        return children

    def _held(self, mothers: Genomes, children: Genomes) -> Genomes:
        """Children (n, n_genes) with what they may not change as their mothers have it: nothing, here."""
        return children

    def _learn(self, rows: Rows) -> None:
        pool = np.concatenate([self._members, rows])
        self._members = pool[self._survivors(self.archive.evaluation.take(pool))]
        asked = places(self.archive.genomes[rows], self._drawn)
        paid = np.isin(rows, self.archive.front)[asked >= 0]
        for credit, ways in zip(self._credits, self._made[asked[asked >= 0]].T, strict=True):
            credit.learn(ways, paid)
        self._forget()

    def _survivors(self, scores: Evaluation) -> Rows:
        """Places of at most `population` of these, the fittest first; none that failed."""
        return survivors(scores.F, scores.violation, self.population)

    def _memory(self) -> dict[str, Any]:
        return {
            "members": self._members,
            "drawn": self._drawn,
            "made": self._made,
            "credits": [credit.counts for credit in self._credits],
        }

    def _recall(self, memory: dict[str, Any]) -> None:
        self._members = np.asarray(memory["members"], dtype=np.intp)
        self._drawn = np.asarray(memory["drawn"], dtype=np.uint8).reshape(-1, self.problem.space.n_genes)
        self._made = np.asarray(memory["made"], dtype=np.intp).reshape(-1, len(self._credits))
        for credit, counts in zip(self._credits, memory["credits"], strict=True):
            credit.counts = np.asarray(counts, dtype=np.float64)


def survivors(F: Floats, violation: Floats, n: int) -> Rows:
    """The ``n`` fittest rows, the fittest first.

    Feasible rows come first, by rank and then by crowding distance; after them the infeasible ones by summed
    violation (constraint domination, Deb et al. 2002, definition 1). What failed (infinite violation) never
    survives.
    """
    feasible = np.flatnonzero(violation == 0)
    missed = np.flatnonzero((violation > 0) & np.isfinite(violation))
    chosen = feasible[by_rank_and_crowding(F[feasible], n)]
    by_violation = missed[np.argsort(violation[missed], kind="stable")]
    return np.concatenate([chosen, by_violation])[:n]


def by_rank_and_crowding(F: Floats, n: int) -> Rows:
    """At least ``n`` rows of ``F`` where there are as many: whole fronts, best rank first, least crowded first."""
    if not len(F):
        return np.empty(0, dtype=np.intp)
    fronts = _SORTING.do(F, n_stop_if_ranked=n)
    return np.concatenate([front[np.argsort(-_CROWDING.do(F[front]), kind="stable")] for front in fronts])
