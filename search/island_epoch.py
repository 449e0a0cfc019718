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

    ``genomes`` (n, n_genes) and ``metrics``, each (n,), as they were first recorded. ``migrants`` (k, n_genes)
    have recorded metrics, ``scored``, each (k,); ``strangers`` (l, n_genes) are to be scored; all are canonical
    and valid in the island's space. ``generations`` of the epoch.
    """

    island: int
    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    migrants: Genomes
    scored: Metrics
    strangers: Genomes
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

    A strategy that has learnt from other numbers than those of the order is made anew: a network's predictions of
    a candidate differ in their last bits with the batch, and those that were first recorded are everybody's. One
    that failed on the way is let go, so that an epoch can be tried again.
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._kept: dict[int, Strategy] = {}

    def __call__(self, order: Order) -> Progressed:
        strategy = self._kept.pop(order.island, None)
        if strategy is None or not _agrees(strategy, order):
            strategy = _made(self._settings[order.island], order)
        _advance(strategy, self._settings[order.island].evaluations, order)
        self._kept[order.island] = strategy
        return _progressed(strategy, len(order.genomes))


def _agrees(strategy: Strategy, order: Order) -> bool:
    """Whether a strategy was told just what the order says."""
    if len(strategy.archive) != len(order.genomes):
        return False
    if not len(order.genomes):
        return True
    told = strategy.archive.evaluation.metrics
    return np.array_equal(strategy.archive.genomes, order.genomes) and all(
        np.array_equal(told[name], values, equal_nan=True) for name, values in order.metrics.items()
    )


def _made(setting: Setting, order: Order) -> Strategy:
    strategy = make_strategy(setting.strategy, setting.problem, np.random.default_rng(), setting.options)
    # A copy, as the same order is given again where this fails.
    strategy.restore(copy.deepcopy(order.state), order.genomes, _known(setting.problem, order))
    return strategy


def _advance(strategy: Strategy, evaluations: int | None, order: Order) -> None:
    _welcome(strategy, order, evaluations)
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


def _welcome(strategy: Strategy, order: Order, evaluations: int | None) -> None:
    """Tell of those from elsewhere that are new here, as far as the budget goes; who has no score gets one."""
    problem = strategy.problem
    rows = strategy.archive.fresh(order.migrants)[: _left(strategy, evaluations)]
    if len(rows):
        scored = {name: values[rows] for name, values in order.scored.items()}
        strategy.tell(order.migrants[rows], problem.judge(scored))
    strangers = order.strangers[strategy.archive.fresh(order.strangers)[: _left(strategy, evaluations)]]
    if len(strangers):
        strategy.tell(strangers, problem.evaluate(strangers))


def _progressed(strategy: Strategy, before: int) -> Progressed:
    archive = strategy.archive
    rows = np.arange(before, len(archive), dtype=np.intp)
    # A copy, as the strategy goes on.
    state = copy.deepcopy(strategy.state())
    if not len(rows):
        return Progressed(state, archive.genomes[rows], {}, {}, archive.front.copy())
    scores = archive.evaluation.take(rows)
    return Progressed(state, archive.genomes[rows], scores.metrics, scores.errors, archive.front.copy())
