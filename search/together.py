"""Whether limits on costs can be met together, before anything is predicted: costs alone are asked for.

First the Lagrangian dual: the weighted excess over all limits is a sum of costs, so its least value over the whole
space is known exactly (`ExactExtreme.least_sum`). Where that is above 0 for some weights, no candidate meets the
limits. The best weights come from Kelley's cutting planes (J. SIAM 8, 1960); the candidates met on the way lie on
the convex hull of the reachable costs. Where the dual does not decide, a small evolutionary search with neighbours
of the best goes on from them. It may miss what there is, so that what it does not find is not called impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from bitfront.search.constraints import Constraint, Floats
from bitfront.search.devices import ExactExtreme
from bitfront.search.operators import Mating
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_MOST_CUTS = 40
_SAMPLES = 512
_KEPT = 64
_CHILDREN = 512
_ROUNDS = 60
_STILL = 12
_MOST_COMBINATIONS = 64
# Sums in another order differ in their last bits.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Nearest:
    """The candidate, ``genome`` (n_genes,), that comes nearest to meeting limits that none is known to meet.

    ``values``: its costs, in the order of ``constraints``; ``costed``: how many candidates' costs were asked for;
    ``proven``: whether it is certain that no candidate meets them.
    """

    constraints: tuple[Constraint, ...]
    genome: NDArray[np.uint8]
    values: tuple[float, ...]
    costed: int
    proven: bool

    def __str__(self) -> str:
        return ", ".join(
            f"{one.metric} {value:.6g} ({'met' if one.excess(np.array([value]))[0] <= 0 else 'limit'} {one.sense} "
            f"{one.bound:.6g})"
            for one, value in zip(self.constraints, self.values, strict=True)
        )


def nearest_together(problem: Problem, rng: np.random.Generator) -> Nearest | None:
    """The candidate with the least summed relative excess over the limits on costs; None if one meets them all.

    Limits on metrics that `Problem.cost` does not give, such as top1, take no part.
    """
    known = problem.cost(problem.space.extremes())
    constraints = tuple(one for one in problem.constraints if one.metric in known)
    return _Search(problem, constraints, rng).nearest() if constraints else None


class _Search:
    def __init__(self, problem: Problem, constraints: tuple[Constraint, ...], rng: np.random.Generator) -> None:
        self.problem, self.space, self.rng = problem, problem.space, rng
        self.constraints = constraints
        self.genomes: Genomes = np.empty((0, problem.space.n_genes), dtype=np.uint8)
        self.excess: Floats = np.empty((0, len(constraints)))
        self.costed = 0

    def nearest(self) -> Nearest | None:
        self._take(self._first())
        proven = not self._is_met() and any(self._is_refuted(group) for group in self._summable())
        if not self._is_met():
            self._improve()
        return None if self._is_met() else self._best(proven)

    def _first(self) -> Genomes:
        """Where to begin: what is smallest and largest, what meets each limit best, and draws of all sizes."""
        found = [self.space.extremes(), self.space.sample(_SAMPLES, self.rng, "sizes")]
        for one in self.constraints:
            known = self.problem.extreme and self.problem.extreme(one.metric, one.sense)
            if known:
                found.append(known[1][None])
        return np.concatenate(found)

    def _take(self, genomes: Genomes) -> None:
        """Cost candidates, and keep the best of them and of those before."""
        costs = self.problem.cost(genomes)
        excess = np.stack([one.excess(np.asarray(costs[one.metric])) for one in self.constraints], axis=1)
        self.costed += len(genomes)
        both, all_excess = np.concatenate([self.genomes, genomes]), np.concatenate([self.excess, excess])
        order = np.argsort(_missed(all_excess), kind="stable")
        order = order[np.sort(np.unique(both[order], axis=0, return_index=True)[1])][:_KEPT]
        self.genomes, self.excess = both[order], all_excess[order]

    def _is_met(self) -> bool:
        return bool(_missed(self.excess)[0] <= 0)

    def _best(self, proven: bool) -> Nearest:
        costs = self.problem.cost(self.genomes[:1])
        values = tuple(float(costs[one.metric][0]) for one in self.constraints)
        return Nearest(self.constraints, self.genomes[0], values, self.costed, proven)

    # -- the dual -----------------------------------------------------------------------------------------

    def _summable(self) -> list[tuple[int, ...]]:
        """Places of limits that can be weighed against each other exactly."""
        extreme = self.problem.extreme
        if not isinstance(extreme, ExactExtreme):
            return []
        groups = extreme.summable(one.metric for one in self.constraints)
        return [tuple(i for i, one in enumerate(self.constraints) if one.metric in group) for group in groups]

    def _is_refuted(self, places: Sequence[int]) -> bool:
        """Whether the weighted excess over these limits is above 0 in every candidate, for some weights."""
        weights, cuts = np.full(len(places), 1.0 / len(places)), np.empty((0, len(places)))
        for _ in range(_MOST_CUTS):
            found = self._least(places, weights)
            if found is None or self._is_met():
                return False
            cuts = np.concatenate([cuts, found[None]])
            if found @ weights > _ROUNDING:
                return True
            best = _best_weights(cuts)
            if best is None or best[0] <= _ROUNDING:
                return False
            weights = best[1]
        return False

    def _least(self, places: Sequence[int], weights: Floats) -> Floats | None:
        """The excess (k,) of the candidate in which the weighted excess over these limits is smallest."""
        assert isinstance(self.problem.extreme, ExactExtreme)
        shares: dict[str, float] = {}
        for place, weight in zip(places, weights, strict=True):
            one = self.constraints[place]
            shares[one.metric] = shares.get(one.metric, 0.0) + float(weight) * one.slope
        genome = self.problem.extreme.least_sum(shares)
        if genome is None:
            return None
        self._take(genome[None])
        costs = self.problem.cost(genome[None])
        return np.array([self.constraints[i].excess(costs[self.constraints[i].metric])[0] for i in places])

    # -- the evolutionary search --------------------------------------------------------------------------

    def _improve(self) -> None:
        mating, still = Mating(self.space), 0
        for _ in range(_ROUNDS):
            before = _missed(self.excess)[0]
            # The fittest stand first, and the lower of two random places is chosen.
            pairs = self.rng.integers(len(self.genomes), size=(2, 2, _CHILDREN)).min(axis=0)
            mothers, fathers = self.genomes[pairs[0]], self.genomes[pairs[1]]
            children = mating.children(mothers, fathers, self.rng, mating.ways(_CHILDREN, self.rng))
            self._take(np.concatenate([children, neighbours(self.space, self.genomes[0], self.rng)]))
            still = still + 1 if _missed(self.excess)[0] >= before else 0
            if still == _STILL or self._is_met():
                return


def neighbours(space: SearchSpace, genome: NDArray[np.uint8], rng: np.random.Generator) -> Genomes:
    """Canonical, valid genomes (n, n_genes) that differ from a genome (n_genes,) in one group of tied genes.

    Of a group with very many combinations some are drawn.
    """
    found = []
    for group in space.groups:
        rows = group.rows
        if len(rows) > _MOST_COMBINATIONS:
            rows = rows[rng.choice(len(rows), _MOST_COMBINATIONS, replace=False)]
        changed = np.repeat(genome[None], len(rows), axis=0)
        changed[:, group.members] = rows
        found.append(changed)
    return space.repair(np.concatenate(found))  # a block that comes to life has choices that are allowed


def _missed(excess: Floats) -> Floats:
    """Summed excess over what is missed, (n,)."""
    total: Floats = np.maximum(excess, 0.0).sum(axis=1)
    return total


def _best_weights(cuts: Floats) -> tuple[float, Floats] | None:
    """Weights that sum to 1 and whose smallest product with the cuts (n, k) is largest, and that product.

    None where the solver gives up: nothing is proven then.
    """
    n, k = cuts.shape
    solved = linprog(
        [*[0.0] * k, -1.0],
        A_ub=np.hstack([-cuts, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=[[*[1.0] * k, 0.0]],
        b_eq=[1.0],
        bounds=[*[(0.0, None)] * k, (None, None)],
    )
    return (float(solved.x[-1]), np.maximum(solved.x[:-1], 0.0)) if solved.success else None
