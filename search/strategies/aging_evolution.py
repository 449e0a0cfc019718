"""Aging evolution (regularized evolution, Real et al. 2019, algorithm 1) for several objectives."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.operators import Mating
from bitfront.search.problem import Evaluation, Problem
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes

_ALIVE = 100
_SUM_WEIGHT = 0.05
_MORE_MUTATIONS = 1.5


class AgingEvolution(Strategy):
    """The youngest are alive; parents win tournaments among them, children differ by a mutation, the oldest die.

    The paper has one objective. Here each tournament has a random direction in objective space, and the best in
    it (augmented Chebyshev, as in ParEGO, Knowles 2006) is the parent; the infeasible lose against the feasible
    and, among themselves, by summed violation (constraint domination). Tournaments are the only selection, as
    death asks for age alone: by rank and crowding a large one would always be won by the same few, whereas every
    part of a front is the best in some direction.

    A whole `ask` descends from the same generation; the paper's steady state is a ``population`` of 1.

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: children per `ask`, at least 1.
        alive: how many of the youngest are alive (P in the paper), at least 1; None: 100, or ``population`` where
            that is more. As many random ones come first.
        tournament: how many of them each parent is the best of (S in the paper), at least 1.

    Raises:
        InvalidOptionError: an option is out of its range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        alive: int | None = None,
        tournament: int = 25,
    ) -> None:
        super().__init__(problem, rng, population=population)
        for name, value in (("alive", alive), ("tournament", tournament)):
            if value is not None and value < 1:
                raise InvalidOptionError(f"{name} is {value}: it must be at least 1")
        self.alive = max(_ALIVE, population) if alive is None else alive
        self.tournament = tournament
        self._mating = Mating(problem.space, crossover_rate=0.0)

    def _propose(self, n: int) -> Genomes:
        missing = min(max(self.alive - len(self.archive), 0), n)
        first = self._unseen(missing, lambda wanted, _: self.problem.space.sample(wanted, self.rng))
        if len(first) == n or not len(self.archive):
            return first
        return self._unseen(n, lambda wanted, number: self._bred(first, wanted, number))

    def _bred(self, first: Genomes, wanted: int, number: int) -> Genomes:
        """The random ones that are still missing, and children of those who are alive."""
        rest = wanted if number else wanted - len(first)
        genomes = self.archive.genomes[-self.alive :]
        parents = genomes[self._parents(rest)]
        ways = self._mating.ways(len(parents), self.rng, _MORE_MUTATIONS**number)
        children = self._mating.children(parents, parents, self.rng, ways)
        return children if number else np.concatenate([first, children])

    def _parents(self, n: int) -> Rows:
        """Winners of ``n`` tournaments, as places among those who are alive."""
        k = min(self.alive, len(self.archive))
        alive = self.archive.evaluation.take(np.arange(len(self.archive) - k, len(self.archive)))
        drawn = self.rng.integers(k, size=(n, self.tournament))
        directions = self.rng.dirichlet(np.ones(alive.F.shape[1]), size=n)
        winners: Rows = drawn[np.arange(n), _losses(alive, drawn, directions).argmin(axis=1)]
        return winners

    def _learn(self, rows: Rows) -> None:
        pass

    def _memory(self) -> dict[str, Any]:
        return {}

    def _recall(self, memory: dict[str, Any]) -> None:
        pass


def _losses(scores: Evaluation, drawn: Rows, directions: Floats) -> Floats:
    """How bad each of ``drawn`` (n, s) is in its tournament's direction (n, m), shape (n, s).

    Below 2 for the feasible, above for the infeasible, infinite for those that could not be scored.
    """
    scored = np.asarray(np.isfinite(scores.F).all(axis=1))
    F = np.where(scored[:, None], scores.F, scores.F[scored].max(axis=0, initial=0.0))
    low, span = F.min(axis=0), np.ptp(F, axis=0)
    scaled = (F - low) / np.where(span > 0, span, 1.0)
    weighted = scaled[drawn] * directions[:, None]
    violation: Floats = np.where(scored, scores.violation, np.inf)
    missed = violation[drawn]
    losses: Floats = weighted.max(axis=2) + _SUM_WEIGHT * weighted.sum(axis=2)
    return np.where(missed > 0, 2.0 + missed, losses)
