"""What the search is compared with: stock libraries and plain published algorithms, on equal terms.

Each gets the same repair of genomes, its own first generation, its defaults as published, and the same
evaluations; a candidate that it asks for again is answered from memory and counts nothing. Where the time that a
rival takes by itself counts, it is given so many seconds, too.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import optuna
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.stock_pymoo import stock_nsga2
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]
_SAMPLE, _SUM_WEIGHT = 25, 0.05
_ENDLESS = 1 << 31


class SpentError(Exception):
    """All evaluations, or all seconds, are used."""


class Ledger:
    """Scores up to ``evaluations`` different candidates in so many ``seconds``, and keeps all objectives."""

    def __init__(self, problem: Problem, evaluations: int, seconds: float = math.inf) -> None:
        self._problem = problem
        self._most = evaluations
        self._end = time.monotonic() + seconds
        self._known: dict[bytes, Floats] = {}

    def score(self, genomes: Genomes) -> Floats:
        """Objectives (n, m), minimised, of canonical genomes (n, n_genes).

        Raises:
            SpentError: nothing is left; what could still be scored was.
        """
        keys = [genome.tobytes() for genome in genomes]
        fresh = {key: row for row, key in enumerate(keys) if key not in self._known}
        rows = list(fresh.values())[: self._most - len(self._known)]
        if rows:
            for row, objectives in zip(rows, self._problem.evaluate(genomes[rows]).F, strict=True):
                self._known[keys[row]] = objectives
        if len(self._known) >= self._most or time.monotonic() >= self._end:
            raise SpentError
        return np.stack([self._known[key] for key in keys])

    def __len__(self) -> int:
        """How many were scored."""
        return len(self._known)

    @property
    def objectives(self) -> Floats:
        """Of all that was scored, (n, m)."""
        return np.stack(list(self._known.values()))

    @property
    def genomes(self) -> Genomes:
        """All that was scored, (n, n_genes)."""
        return np.stack([np.frombuffer(key, dtype=np.uint8) for key in self._known])


Rival = Callable[[Problem, Ledger, int, int], None]
"""Called with a problem, what scores, a population and a seed; it goes on until the ledger stops it."""


def pymoo(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """NSGA-II as pymoo ships it."""
    stock_nsga2(problem.space, ledger.score, len(problem.objectives), population, _ENDLESS, seed)


def pymoo_integers(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """The same with operators that take wider steps."""
    stock_nsga2(problem.space, ledger.score, len(problem.objectives), population, _ENDLESS, seed, integers=True)


def optuna_nsga2(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """NSGA-II of Optuna, one candidate at a time, in memory."""
    _by_optuna(problem, ledger, optuna.samplers.NSGAIISampler(population_size=population, seed=seed))


def optuna_tpe(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """Optuna's tree-structured Parzen estimator for several objectives; it knows no population."""
    _by_optuna(problem, ledger, optuna.samplers.TPESampler(seed=seed))


def _by_optuna(problem: Problem, ledger: Ledger, sampler: optuna.samplers.BaseSampler) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # that the budget is spent is no failure to tell of
    space = problem.space
    study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=sampler)

    allowed = allowed_choices(space)

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        genes = [
            choices[trial.suggest_int(gene.name, 0, len(choices) - 1)]
            for gene, choices in zip(space.genes, allowed, strict=True)
        ]
        genome = space.repair(np.array([genes], dtype=np.uint8))
        return tuple(ledger.score(genome)[0].tolist())

    study.optimize(objective, n_trials=_ENDLESS)


def allowed_choices(space: SearchSpace) -> list[list[int]]:
    """Indices of the choices that each gene has."""
    return [[gene.choices.index(one) for one in space.allowed_choices(gene.name)] for gene in space.genes]


def aging_evolution(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """Regularised evolution (Real et al. 2019): the oldest dies, the best of 25 random members has a child.

    It knows one objective: as a front is asked for, each tournament is judged by the augmented Chebyshev value of
    a random direction (as in ParEGO, Knowles 2006). A mutation changes one gene.
    """
    rng = np.random.default_rng(seed)
    first = problem.space.sample(population, rng)
    members = deque(zip(first, ledger.score(first), strict=True))
    while True:
        drawn = rng.choice(len(members), size=min(_SAMPLE, len(members)), replace=False)
        F = np.stack([objectives for _, objectives in members])
        scaled = (F[drawn] - F.min(axis=0)) / np.maximum(np.ptp(F, axis=0), np.finfo(np.float64).tiny)
        weighted = scaled * rng.dirichlet(np.ones(F.shape[1]))
        best = drawn[np.argmin(weighted.max(axis=1) + _SUM_WEIGHT * weighted.sum(axis=1))]
        child = _mutated(problem, members[best][0], rng)
        members.append((child[0], ledger.score(child)[0]))
        members.popleft()


def _mutated(problem: Problem, parent: NDArray[np.uint8], rng: np.random.Generator) -> Genomes:
    space = problem.space
    while True:
        child = parent[None].copy()
        gene = rng.choice(np.flatnonzero(space.active(child)[0]))
        child[0, gene] = rng.integers(space.cardinalities[gene])
        child = space.repair(child)
        if (child[0] != parent).any():
            return child


def random_sampling(problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """Every gene uniform."""
    rng = np.random.default_rng(seed)
    while True:
        ledger.score(problem.space.sample(population, rng))


RIVALS: Mapping[str, Rival] = {
    "pymoo": pymoo,
    "pymoo_integers": pymoo_integers,
    "optuna": optuna_nsga2,
    "aging": aging_evolution,
    "random": random_sampling,
}


def all_scored(rival: Rival, problem: Problem, evaluations: int, population: int, seed: int) -> Floats:
    """Objectives (evaluations, m) of everything that a rival scored."""
    ledger = Ledger(problem, evaluations)
    spend(rival, problem, ledger, population, seed)
    return ledger.objectives


def spend(rival: Rival, problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
    """Let a rival score until its ledger stops it, or until it ends by itself."""
    with suppress(SpentError):
        rival(problem, ledger, population, seed)
