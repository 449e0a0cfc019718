"""An epoch of one island, as a worker goes through it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfront.search.problem import Evaluation, Metrics, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.base import Strategy
from bitfront.supernet.genes import Genomes


@dataclass(frozen=True, eq=False)
class Setting:
    """What stays the same for an island: its search, the generations of an epoch, its budget in candidates."""

    problem: Problem
    strategy: str
    options: dict[str, Any]
    generations: int
    evaluations: int


@dataclass(frozen=True, eq=False)
class Order:
    """An island before an epoch: strategy state, all its candidates in order, and who comes from elsewhere.

    ``genomes`` (n, n_genes) and ``metrics``, each (n,); ``migrants`` (k, n_genes).
    """

    island: int
    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    migrants: Genomes


@dataclass(frozen=True, eq=False)
class Progressed:
    """An island after an epoch: strategy state, and new candidates (m, n_genes) with their metrics, each (m,)."""

    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics


def make_worker(settings: Sequence[Setting]) -> Callable[[Order], Progressed]:
    """A worker that takes any island through an epoch. It keeps nothing, so that an epoch can be tried again."""
    return lambda order: _epoch(settings[order.island], order)


def _epoch(setting: Setting, order: Order) -> Progressed:
    problem = setting.problem
    strategy = make_strategy(setting.strategy, problem, np.random.default_rng(), setting.options)
    # A copy, as the same order is given again where this fails.
    strategy.restore(copy.deepcopy(order.state), order.genomes, _known(problem, order))
    _welcome(strategy, order.migrants, setting.evaluations)
    for _ in range(setting.generations):
        left = setting.evaluations - len(strategy.archive)
        genomes = strategy.ask(left) if left > 0 else order.genomes[:0]
        if not len(genomes):
            break
        strategy.tell(genomes, problem.evaluate(genomes))
    return _progressed(strategy, len(order.genomes))


def _known(problem: Problem, order: Order) -> Evaluation:
    if len(order.genomes):
        return problem.judge(order.metrics)
    return Evaluation(np.empty((0, len(problem.objectives))), np.empty((0, len(problem.constraints))), {})


def _welcome(strategy: Strategy, migrants: Genomes, evaluations: int) -> None:
    """Score and tell those from elsewhere that are new here, as far as the budget goes."""
    space, left = strategy.problem.space, max(0, evaluations - len(strategy.archive))
    repaired = space.repair(migrants) if len(migrants) else migrants
    fresh = repaired[strategy.archive.fresh(repaired)[:left]]
    if len(fresh):
        strategy.tell(fresh, strategy.problem.evaluate(fresh))


def _progressed(strategy: Strategy, before: int) -> Progressed:
    archive = strategy.archive
    rows = np.arange(before, len(archive), dtype=np.intp)
    metrics = archive.evaluation.take(rows).metrics if len(rows) else {}
    return Progressed(strategy.state(), archive.genomes[rows], metrics)
