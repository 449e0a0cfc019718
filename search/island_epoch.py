"""An epoch of one island, as a worker goes through it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfront.search.problem import Evaluation, Metrics, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.base import Strategy
from bitfront.supernet.genes import Genomes


@dataclass(frozen=True, eq=False)
class Setting:
    """What stays the same for an island: its search, and its budget in candidates, if it has one."""

    problem: Problem
    strategy: str
    options: dict[str, Any]
    evaluations: int | None


@dataclass(frozen=True, eq=False)
class Order:
    """An island before an epoch: strategy state, all its candidates in order, and who comes from elsewhere.

    ``genomes`` (n, n_genes) and ``metrics``, each (n,); ``migrants`` (k, n_genes); ``generations`` of the epoch.
    """

    island: int
    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    migrants: Genomes
    generations: int


@dataclass(frozen=True, eq=False)
class Progressed:
    """An island after an epoch: strategy state, and new candidates (m, n_genes) with their metrics, each (m,).

    ``errors``: row to what failed.
    """

    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    errors: Mapping[int, str]


def make_worker(settings: Sequence[Setting]) -> Callable[[Order], Progressed]:
    """A worker that takes any island through an epoch. It keeps nothing, so that an epoch can be tried again."""
    return lambda order: _epoch(settings[order.island], order)


def _epoch(setting: Setting, order: Order) -> Progressed:
    problem = setting.problem
    strategy = make_strategy(setting.strategy, problem, np.random.default_rng(), setting.options)
    # A copy, as the same order is given again where this fails.
    strategy.restore(copy.deepcopy(order.state), order.genomes, _known(problem, order))
    _welcome(strategy, order.migrants, setting.evaluations)
    for _ in range(order.generations):
        left = _left(strategy, setting.evaluations)
        genomes = order.genomes[:0] if left == 0 else strategy.ask(left)
        if not len(genomes):
            break
        strategy.tell(genomes, problem.evaluate(genomes))
    return _progressed(strategy, len(order.genomes))


def _known(problem: Problem, order: Order) -> Evaluation:
    if len(order.genomes):
        return problem.judge(order.metrics)
    return Evaluation(np.empty((0, len(problem.objectives))), np.empty((0, len(problem.constraints))), {})


def _left(strategy: Strategy, evaluations: int | None) -> int | None:
    """Candidates that may still be scored; None is no limit."""
    return None if evaluations is None else max(0, evaluations - len(strategy.archive))


def _welcome(strategy: Strategy, migrants: Genomes, evaluations: int | None) -> None:
    """Score and tell those from elsewhere that are new here, as far as the budget goes."""
    space, left = strategy.problem.space, _left(strategy, evaluations)
    repaired = space.repair(migrants) if len(migrants) else migrants
    fresh = repaired[strategy.archive.fresh(repaired)[:left]]
    if len(fresh):
        strategy.tell(fresh, strategy.problem.evaluate(fresh))


def _progressed(strategy: Strategy, before: int) -> Progressed:
    archive = strategy.archive
    rows = np.arange(before, len(archive), dtype=np.intp)
    if not len(rows):
        return Progressed(strategy.state(), archive.genomes[rows], {}, {})
    scores = archive.evaluation.take(rows)
    return Progressed(strategy.state(), archive.genomes[rows], scores.metrics, scores.errors)
