"""An epoch of one island, as a worker goes through it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfront.search.archive import Rows
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

    ``errors``: row to what failed. ``front``: which of all its candidates, in order, are on its front.
    """

    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    errors: Mapping[int, str]
    front: Rows


def make_worker(settings: Sequence[Setting]) -> Callable[[Order], Progressed]:
    """A worker that takes any island through an epoch."""
    return _Worker(settings)


class _Worker:
    """Goes on with the strategy that it has of an island, or makes it from the order.

    Whoever worked on an island came to the same: what has as many candidates as the order is what the order says.
    A strategy that failed on the way is let go, so that an epoch can be tried again.
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._kept: dict[int, Strategy] = {}

    def __call__(self, order: Order) -> Progressed:
        strategy = self._kept.pop(order.island, None)
        if strategy is None or len(strategy.archive) != len(order.genomes):
            strategy = _made(self._settings[order.island], order)
        _advance(strategy, self._settings[order.island].evaluations, order)
        self._kept[order.island] = strategy
        return _progressed(strategy, len(order.genomes))


def _made(setting: Setting, order: Order) -> Strategy:
    strategy = make_strategy(setting.strategy, setting.problem, np.random.default_rng(), setting.options)
    # A copy, as the same order is given again where this fails.
    strategy.restore(copy.deepcopy(order.state), order.genomes, _known(setting.problem, order))
    return strategy


def _advance(strategy: Strategy, evaluations: int | None, order: Order) -> None:
    _welcome(strategy, order.migrants, evaluations)
    for _ in range(order.generations):
        left = _left(strategy, evaluations)
        genomes = order.genomes[:0] if left == 0 else strategy.ask(left)
        if not len(genomes):
            break
        strategy.tell(genomes, strategy.problem.evaluate(genomes))


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
    # A copy, as the strategy goes on.
    state = copy.deepcopy(strategy.state())
    if not len(rows):
        return Progressed(state, archive.genomes[rows], {}, {}, archive.front.copy())
    scores = archive.evaluation.take(rows)
    return Progressed(state, archive.genomes[rows], scores.metrics, scores.errors, archive.front.copy())
