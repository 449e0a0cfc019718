"""NSGA-III (Deb and Jain 2014): fronts of many objectives, spread by reference directions instead of crowding."""

from __future__ import annotations

import math
import warnings
from functools import cached_property
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
from bitfront.search.problem import Evaluation
from bitfront.search.strategies.nsga2 import Nsga2

_SORTING = NonDominatedSorting()
_INNER = 0.5


class Nsga3(Nsga2):
    """Keeps the candidates nearest to directions that are spread over objective space, and mates them.

    Survival is NSGA-III's, made of pymoo's parts: from four objectives on crowding, which `nsga2` uses, says
    little. There are up to as many directions as ``population``. All else, arguments included, is as in `Nsga2`.
    """

    @cached_property
    def directions(self) -> Floats:
        """Reference directions, (k, m)."""
        return directions(len(self.problem.objectives), self.population)

    @cached_property
    def _normal(self) -> HyperplaneNormalization:
        return HyperplaneNormalization(len(self.problem.objectives))

    def _survivors(self, scores: Evaluation) -> Rows:
        scored = np.isfinite(scores.F).all(axis=1)  # those that failed would spoil the normalisation
        feasible = np.flatnonzero(scored & (scores.violation == 0))
        missed = np.flatnonzero(scored & (scores.violation > 0))
        chosen = feasible[self._nearest(scores.F[feasible])] if len(feasible) else feasible
        by_violation = missed[np.argsort(scores.violation[missed], kind="stable")]
        return np.concatenate([chosen, by_violation])[: self.population]

    def _nearest(self, F: Floats) -> Rows:
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
            **super()._memory(),
            "normal": [normal.ideal_point, normal.worst_point, normal.nadir_point] if begun else None,
            "extreme": normal.extreme_points,
        }

    def _recall(self, memory: dict[str, Any]) -> None:
        super()._recall(memory)
        self.__dict__.pop("_normal", None)
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
