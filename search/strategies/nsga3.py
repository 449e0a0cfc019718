"""NSGA-III (Deb and Jain 2014): fronts of many objectives, spread by reference directions instead of crowding."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga3 import (
    HyperplaneNormalization,
    associate_to_niches,
    calc_niche_count,
    niching,
)
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from pymoo.util.ref_dirs import get_reference_directions

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.operators import Mating
from bitfront.search.problem import Problem
from bitfront.search.seeders import uniform_policies
from bitfront.search.selection import parents
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes

_SORTING = NonDominatedSorting()
_MORE_MUTATIONS = 1.5
_INNER = 0.5


class Nsga3(Strategy):
    """Keeps the candidates nearest to directions that are spread over objective space, and mates them.

    Survival is NSGA-III's, made of pymoo's parts. Crossover and mutation are those of `nsga2`, without learning
    which of them pay.

    Args:
        problem: what is searched for; from four objectives on crowding, which `nsga2` uses, says little.
        rng: the only source of randomness.
        population: survivors and children per generation, at least 1; there are up to as many directions.
        crossover_rate: share of children with two parents, 0..1.
        mutations: expected number of groups of genes that mutation changes in a child, above 0.

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
        self.directions = directions(len(problem.objectives), population)
        self._mating = Mating(problem.space, crossover_rate)
        self._normal = HyperplaneNormalization(len(problem.objectives))
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
        ways = self._mating.ways(wanted, self.rng, mutations)
        return self._mating.children(genomes[mothers], genomes[fathers], self.rng, ways)

    def _learn(self, rows: Rows) -> None:
        pool = np.concatenate([self._members, rows])
        scores = self.archive.evaluation.take(pool)
        scored = np.isfinite(scores.F).all(axis=1)  # those that failed would spoil the normalisation
        feasible = np.flatnonzero(scored & (scores.violation == 0))
        missed = np.flatnonzero(scored & (scores.violation > 0))
        chosen = feasible[self._survivors(scores.F[feasible])] if len(feasible) else feasible
        by_violation = missed[np.argsort(scores.violation[missed], kind="stable")]
        self._members = pool[np.concatenate([chosen, by_violation])[: self.population]]

    def _survivors(self, F: Floats) -> Rows:
        """At most `population` rows of feasible ``F`` (k, m), k > 0, by rank and then by directions served."""
        fronts = _SORTING.do(F, n_stop_if_ranked=self.population)
        with warnings.catch_warnings():  # pymoo changes the filters for good
            self._normal.update(F, nds=fronts[0])
        n = self.population - sum(map(len, fronts[:-1]))
        kept = np.concatenate([np.empty(0, dtype=np.intp), *fronts[:-1]])
        last = fronts[-1] if n >= len(fronts[-1]) else self._served(F, kept, fronts[-1], n)
        return np.concatenate([kept, last]).astype(np.intp)

    def _served(self, F: Floats, kept: Rows, last: Rows, n: int) -> Rows:
        """``n`` rows of the last front, for the directions that the rows kept serve least."""
        ideal, nadir = self._normal.ideal_point, self._normal.nadir_point
        niche, distance, _ = associate_to_niches(F, self.directions, ideal, nadir)
        counts = calc_niche_count(len(self.directions), niche[kept])
        places = niching(last, n, counts, niche[last], distance[last], random_state=self.rng)
        chosen: Rows = last[np.array(places, dtype=np.intp)]
        return chosen

    def _memory(self) -> dict[str, Any]:
        normal = self._normal
        begun = normal.nadir_point is not None
        return {
            "members": self._members,
            "normal": [normal.ideal_point, normal.worst_point, normal.nadir_point] if begun else None,
            "extreme": normal.extreme_points,
        }

    def _recall(self, memory: dict[str, Any]) -> None:
        self._members = np.asarray(memory["members"], dtype=np.intp)
        self._normal = HyperplaneNormalization(len(self.problem.objectives))
        if memory["normal"] is not None:
            points = np.asarray(memory["normal"], dtype=np.float64)
            self._normal.ideal_point, self._normal.worst_point, self._normal.nadir_point = points.copy()
            self._normal.extreme_points = np.asarray(memory["extreme"], dtype=np.float64)


def directions(m: int, most: int) -> Floats:
    """Up to ``most`` reference directions, shape (k, m), or the ``m`` axes where those are more.

    They are the finest grid that fits (Das and Dennis 1998). Where that has no direction between all axes, a
    second one inside it, shrunk by a half, is added as far as it fits (Deb and Jain 2014, section V).
    """
    if m == 1:
        return np.ones((1, 1))
    fits = [p for p in range(2, most + 1) if math.comb(p + m - 1, m - 1) <= most]
    outer = max(fits, default=1)
    found = _grid(m, outer, 1.0)
    inner = [p for p in range(1, outer + 1) if len(found) + math.comb(p + m - 1, m - 1) <= most]
    if outer < m and inner:
        found = np.concatenate([found, _grid(m, max(inner), _INNER)])
    return found


def _grid(m: int, partitions: int, scale: float) -> Floats:
    found: Floats = get_reference_directions("das-dennis", m, n_partitions=partitions, scaling=scale)
    return found
