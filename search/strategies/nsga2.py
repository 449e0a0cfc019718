"""NSGA-II (Deb et al. 2002) on arrays: sorting and crowding from pymoo, mating made for search spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.operators import Mating
from bitfront.search.problem import Problem
from bitfront.search.selection import parents
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_SORTING = NonDominatedSorting()
_CROWDING = get_crowding_function("cd")
_MORE_MUTATIONS = 1.5


class Nsga2(Strategy):
    """Keeps the best `population` candidates by constraint domination, rank and crowding, and mates them.

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: survivors and children per generation, at least 1.
        crossover_rate: share of children with two parents, 0..1.
        mutations: expected number of groups of genes that mutation changes in a child, above 0; it grows
            within a generation only while children turn out to be known already.

    Raises:
        InvalidOptionError: an option is out of its range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        crossover_rate: float = 0.9,
        mutations: float = 0.5,
    ) -> None:
        super().__init__(problem, rng, population=population)
        if not 0 <= crossover_rate <= 1:
            raise InvalidOptionError(f"crossover_rate is {crossover_rate}: it must be from 0 to 1")
        if not mutations > 0:
            raise InvalidOptionError(f"mutations is {mutations}: it must be above 0")
        self.mutations = mutations
        self._mating = Mating(problem.space, crossover_rate)
        self._members: Rows = np.empty(0, dtype=np.intp)  # rows of the archive, the fittest first

    def _propose(self, n: int) -> Genomes:
        if not len(self._members):
            seeds = uniform_policies(self.problem.space)
            return self._unseen(n, lambda wanted, number: self._first(wanted, number, seeds))
        return self._unseen(n, self._children)

    def _first(self, wanted: int, number: int, seeds: Genomes) -> Genomes:
        drawn = self.problem.space.sample(wanted, self.rng)
        return drawn if number else np.concatenate([seeds, drawn])

    def _children(self, wanted: int, number: int) -> Genomes:
        scores = self.archive.evaluation.take(self._members)
        mothers, fathers = parents(scores.F, scores.violation, wanted, self.rng)
        genomes = self.archive.genomes[self._members]
        mutations = self.mutations * _MORE_MUTATIONS**number
        return self._mating.children(genomes[mothers], genomes[fathers], self.rng, mutations)

    def _learn(self, rows: Rows) -> None:
        pool = np.concatenate([self._members, rows])
        scores = self.archive.evaluation.take(pool)
        self._members = pool[survivors(scores.F, scores.violation, self.population)]

    def _memory(self) -> dict[str, Any]:
        return {"members": self._members}

    def _recall(self, memory: dict[str, Any]) -> None:
        self._members = np.asarray(memory["members"], dtype=np.intp)


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


def uniform_policies(space: SearchSpace) -> Genomes:
    """The smallest and the largest architecture in every number format that the space has, where it has it."""
    corners = space.extremes()
    formats = dict.fromkeys(choice for gene in space.genes if gene.is_policy for choice in gene.choices)
    uniform = [space.assign(corners, {"weight_format": name, "activation_format": name}) for name in formats]
    return space.repair(np.concatenate([corners, *uniform]))
