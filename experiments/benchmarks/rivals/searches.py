"""What searches find of the same space, by the same predictor and table, with the same budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.rivals.environment import LeftOutError
from bitfront.experiments.benchmarks.search_rivals import Ledger, Rival, spend
from bitfront.experiments.benchmarks.studied import budget
from bitfront.search.archive import non_dominated
from bitfront.search.front import Front
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_REAL = {("fp32", "fp32")}


def in_real_numbers(space: SearchSpace) -> SearchSpace:
    """Architectures alone, of which nothing is quantized."""
    return space.restrict_formats(lambda op: _REAL)


def counted(problem: Problem) -> tuple[Problem, Callable[[], int]]:
    """The same problem without constraints, and how many candidates were scored so far."""
    scored = 0

    def predict(genomes: Genomes) -> NDArray[np.float64]:
        nonlocal scored
        scored += len(genomes)
        return problem.predict(genomes)

    return Problem(problem.space, problem.objectives, predict, problem.cost), lambda: scored


def scored_by(rival: Rival, problem: Problem, quick: bool, seed: int, seconds: float = math.inf) -> Ledger:
    """All that a rival scored, in as many evaluations as ours or so many seconds."""
    evaluations, population = budget(quick)
    ledger = Ledger(problem, evaluations, seconds)
    spend(rival, problem, ledger, population, seed)
    return ledger


def front_of(problem: Problem, ledger: Ledger) -> Front:
    """The candidates of a ledger that none of its others dominates.

    Raises:
        LeftOutError: nothing was scored.
    """
    if not len(ledger):
        raise LeftOutError("it ended before it had scored a candidate")
    kept = np.flatnonzero(non_dominated(ledger.objectives))
    genomes = ledger.genomes[kept]
    metrics = problem.evaluate(genomes).metrics
    return Front.of(problem.objectives, genomes, {name: metrics[name] for name in problem.objectives})
