"""Collecting samples in rounds: after each it is decided whether there are enough, and which are next.

`Surrogate` decides. Points of the learning curve are its pairwise accuracies on what is collected at random, which
it has not learned from when it is asked; pairs that predictors are judged by later take no part. Each round has a
curve of its own: its points are of the same pairs, so that what these have by chance moves the whole curve and
hardly its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.acquisition import ACQUISITIONS, acquired
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.learning_curve import LearningCurve, Point, Verdict, enough
from bitfront.predictors.surrogate import Surrogate
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

RANDOM = "random"
_LEAST, _FIRST, _GROWTH = 30, 8, 1.4
_RANDOM_SHARE = 0.5
_SHARES = (0.25, 0.35, 0.5, 0.7)
Measure = Callable[[Genomes], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How samples are collected.

    Attributes:
        budget: how many there are at most.
        tolerance: pairwise accuracy that may be missed by stopping earlier (see `enough`); None: no earlier stop.
        choose: ``random``, or one of `ACQUISITIONS`.
    """

    budget: int
    tolerance: float | None = None
    choose: str = RANDOM

    @property
    def single(self) -> bool:
        """Whether there is nothing to decide, so that one round will do."""
        return self.tolerance is None and self.choose == RANDOM

    @property
    def rounds(self) -> tuple[int, ...]:
        """How many samples there are after each round: a few, then more by about the same factor each time."""
        first = min(self.budget, max(_LEAST, self.budget // _FIRST))
        if self.single or first == self.budget:
            return (self.budget,)
        steps = math.ceil(math.log(self.budget / first) / math.log(_GROWTH))
        return tuple(round(size) for size in np.geomspace(first, self.budget, steps + 1))


@dataclass(frozen=True, slots=True)
class Collected:
    """Pairs in the order in which they were measured, and why there are no more.

    ``curves`` has a learning curve for each round but the last possible; ``verdict`` is about the last of them.
    Both are empty where there is nothing to decide about stopping. ``failed`` could not be measured.
    """

    pairs: Pairs
    curves: tuple[LearningCurve, ...]
    verdict: Verdict | None
    failed: int = 0


def collected(
    space: SearchSpace,
    candidates: Genomes,
    measure: Measure,
    plan: Plan,
    rng: np.random.Generator,
    fp32: Pairs | None = None,
) -> Collected:
    """Measure candidates round by round, until there are enough or ``plan.budget`` of them.

    The same arguments lead to the same samples, so that a collection that was interrupted is done again with what
    ``measure`` remembers; as long as it is the same candidates that can not be measured. Others take their place
    in the next round, if there are any.

    Args:
        space: of the candidates.
        candidates: different canonical genomes (n, n_genes) in random order; none of them is measured twice.
        measure: accuracies (k,) of genomes (k, n_genes); those that are NaN can not be measured, and are left out.
        plan: how many, and which.
        rng: draws the random ones among chosen samples.
        fp32: pairs to be transferred from, where the candidates are quantized; None where these are fp32.
    """
    plan = replace(plan, budget=min(plan.budget, len(candidates)))
    before = None if fp32 is None or plan.single else Surrogate.fit(space, fp32)
    left, pairs, drawn = candidates, Pairs(candidates[:0], np.empty(0)), np.empty(0, dtype=bool)
    curves: list[LearningCurve] = []
    surrogate, verdict, failed = None, None, 0
    for size in plan.rounds:
        rows, random = _next(surrogate, left, min(size - len(pairs), len(left)), plan.choose, rng)
        accuracy = measure(left[rows])
        pairs = _joined(pairs, measurable(left[rows], accuracy))
        failed += int(np.isnan(accuracy).sum())
        left = np.delete(left, rows, axis=0)
        if size == plan.budget or not len(left):
            break
        drawn = np.concatenate([drawn, (np.arange(len(rows)) < random)[~np.isnan(accuracy)]])
        surrogate = Surrogate.fit(space, pairs, before)
        if plan.tolerance is not None:
            curves.append(learning_curve(surrogate, drawn, np.random.default_rng(size)))
            verdict = enough(curves, plan.tolerance, plan.budget)
            if verdict.stop:
                break
    return Collected(pairs, tuple(curves), verdict, failed)


def measurable(genomes: Genomes, accuracy: NDArray[np.float64]) -> Pairs:
    """Pairs of those whose accuracy is no NaN."""
    rows = ~np.isnan(accuracy)
    return Pairs(genomes[rows], accuracy[rows])


def learning_curve(
    surrogate: Surrogate, drawn: NDArray[np.bool_], rng: np.random.Generator, repeats: int = 8
) -> LearningCurve:
    """Pairwise accuracies on the surrogate's own pairs after learning from parts of the others.

    Args:
        surrogate: with n pairs.
        drawn: which of them are random (n,): it is judged by these.
        rng: draws the parts.
        repeats: how many parts of each size there are.
    """
    n = len(drawn)
    points = [Point(n, surrogate.left_out_accuracy(drawn))]
    for size in sorted({round(share * n) for share in _SHARES}):
        orders = [rng.permutation(n) for _ in range(repeats)]
        found = [surrogate.part_accuracy(order[:size], order[size:][drawn[order[size:]]]) for order in orders]
        points.append(Point(size, float(np.mean(found))))
    return LearningCurve(tuple(points))


def _next(
    surrogate: Surrogate | None, left: Genomes, n: int, choose: str, rng: np.random.Generator
) -> tuple[NDArray[np.intp], int]:
    """Rows (n,) of those that are left, and how many of them are random: the first ones, and in round 1 all."""
    if choose == RANDOM or surrogate is None:
        return np.arange(n), n
    random = round(n * _RANDOM_SHARE)
    return acquired(surrogate, left, n, ACQUISITIONS[choose], random, rng), random


def _joined(one: Pairs, other: Pairs) -> Pairs:
    return Pairs(np.concatenate([one.genomes, other.genomes]), np.concatenate([one.accuracy, other.accuracy]))
