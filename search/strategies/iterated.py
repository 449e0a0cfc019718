"""Iterated search: measure a batch, refit a surrogate, search on it, repeat (LINAS, Cummings et al. 2022;
SimQ-NAS, Sridhar et al. 2023), for evaluations that are dear since they truly measure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitfront.predictors.dataset import Pairs
from bitfront.predictors.surrogate import Surrogate
from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.hypervolume import reference_point
from bitfront.search.problem import Evaluation, Problem
from bitfront.search.seeders import SEEDERS
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.search.strategies.belief import Belief, as_fraction, worthwhile
from bitfront.search.strategies.nsga2 import Nsga2, survivors
from bitfront.supernet.genes import Genomes

_FEWEST = 2
_MOST_CANDIDATES = 200


class Iterated(Strategy):
    """Asks for what a surrogate of accuracy, refitted each time, says is worth measuring.

    The surrogate is a Gaussian process over architecture and policy (`Surrogate`), fitted to everything told.
    Costs are table look-ups that need no learning: the strategy calls ``problem.cost`` freely, and never
    ``problem.predict``. An inner NSGA-II searches on costs and on the upper end of what accuracy may be. Of what
    it leaves, those are asked for, one after the other, whose upper end adds most to the hypervolume of what is
    known (as in SMS-EGO, Ponweiser et al. 2008); each is then supposed to measure as expected, so that its
    neighbours are less uncertain.

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: candidates per `ask`, at least 1. Smaller batches learn faster, and take longer to choose.
        first: candidates before the first fit, at least 2: seeds, then draws of all sizes.
        exploration: how many of the surrogate's half widths the upper end lies above the mean, at least 0.
        inner_population: of the inner search, at least 1.
        inner_generations: of the inner search, at least 1.
        prior: accuracies (n,), 0..1, that are expected of canonical genomes (n, n_genes) before anything is
            measured, such as those of a transferred predictor; the surrogate then learns what they lack.
        seeds: name of a `SEEDERS` entry: what the first batch begins with.

    Raises:
        InvalidOptionError: an option is out of its range.
        UnknownNameError: there is no such seeder.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 20,
        first: int = 40,
        exploration: float = 0.5,
        inner_population: int = 100,
        inner_generations: int = 20,
        prior: Callable[[Genomes], Floats] | None = None,
        seeds: str = "uniform",
    ) -> None:
        super().__init__(problem, rng, population=population)
        least = {"first": (first, _FEWEST), "exploration": (exploration, 0)}
        least |= {"inner_population": (inner_population, 1), "inner_generations": (inner_generations, 1)}
        for name, (value, bound) in least.items():
            if not value >= bound:
                raise InvalidOptionError(f"{name} is {value}: it must be at least {bound}")
        self.first = first
        self.exploration = exploration
        self.inner_population = inner_population
        self.inner_generations = inner_generations
        self.prior = prior
        self._seeds = SEEDERS.get(seeds)

    def _propose(self, n: int) -> Genomes:
        missing = min(max(self.first - len(self.archive), 0), n)
        chosen = self._unseen(missing, self._first)
        scored = self._scored()
        if len(chosen) < n and len(scored) >= _FEWEST:
            chosen = np.concatenate([chosen, self._promising(scored, n - len(chosen))])
        return self._unseen(n, lambda wanted, number: self._filled(chosen, wanted, number))

    def _first(self, wanted: int, number: int) -> Genomes:
        drawn = self.problem.space.sample(wanted, self.rng, "sizes")
        if number or len(self.archive):
            return drawn
        return np.concatenate([self._seeds(self.problem, self.rng, wanted), drawn])

    def _filled(self, chosen: Genomes, wanted: int, number: int) -> Genomes:
        return chosen if number == 0 and len(chosen) else self.problem.space.sample(wanted, self.rng)

    def _scored(self) -> Rows:
        if not len(self.archive):
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(np.isfinite(self.archive.evaluation.F).all(axis=1))

    def _promising(self, scored: Rows, n: int) -> Genomes:
        known, scores = self.archive.genomes[scored], self.archive.evaluation.take(scored)
        belief = Belief(self.problem, self._fitted(known, scores), self.exploration, self.prior)
        candidates = self._inner(belief, known)
        front = scores.F[scores.feasible]
        return candidates[worthwhile(belief, candidates, front, reference_point(scores.F), n)]

    def _fitted(self, known: Genomes, scores: Evaluation) -> Surrogate | None:
        """None where nobody asks for accuracy."""
        if "top1" not in scores.metrics:
            return None
        top1 = scores.metrics["top1"]
        learned = top1 if self.prior is None else as_fraction(top1 - self.prior(known))
        return Surrogate.fit(self.problem.space, Pairs(known, learned), policy=True)

    def _inner(self, belief: Belief, known: Genomes) -> Genomes:
        """What an NSGA-II on what is believed finds beside ``known``, the fittest first."""
        inner = Nsga2(belief.problem, self.rng, population=self.inner_population)
        inner.tell(known, belief.problem.evaluate(known))
        for _ in range(self.inner_generations):
            genomes = inner.ask()
            if not len(genomes):
                break
            inner.tell(genomes, belief.problem.evaluate(genomes))
        found = inner.archive.genomes[len(known) :]
        new = self.archive.fresh(found)
        if not len(new):
            return self._nothing()
        scores = inner.archive.evaluation.take(new + len(known))
        return found[new][survivors(scores.F, scores.violation, _MOST_CANDIDATES)]

    def _learn(self, rows: Rows) -> None:
        pass

    def _memory(self) -> dict[str, Any]:
        return {}

    def _recall(self, memory: dict[str, Any]) -> None:
        pass
