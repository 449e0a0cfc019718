"""Several searches side by side that send each other their best; seeds, strategies and problems may differ.

The island model of parallel evolutionary search (Cohoon et al. 1987). An epoch is some generations of every
island, each worked on by one worker of an executor; then members that are spread over an island's front go to a
neighbour, which judges them by its own problem; what its predictor knows is not scored again. Islands wait for
each other at the end of an epoch, so that what comes out depends on the seed alone, and not on where and when who
worked. A predictor's numbers may differ in their last bits with the batch: those that came first are everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitfront.search.budget import Budget
from bitfront.search.constraints import Floats
from bitfront.search.executors.base import Executor
from bitfront.search.island_records import (
    Archipelago,
    Common,
    Epoch,
    InvalidIslandsError,
    Island,
    IslandError,
    IslandsCheckpoint,
    Migration,
)
from bitfront.search.island_run import IslandsRun
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.search.reachable import refuse_together, refuse_unreachable

__all__ = [
    "Archipelago",
    "Common",
    "Epoch",
    "InvalidIslandsError",
    "Island",
    "IslandError",
    "IslandsCheckpoint",
    "Migration",
    "search_islands",
]


def search_islands(
    islands: Sequence[Island],
    executor: Executor,
    *,
    rng: np.random.Generator,
    evaluations: int | None = None,
    generations: int | None = None,
    seconds: float | None = None,
    stalled: int | None = None,
    migration: Migration | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_stop: Callable[[str], None] | None = None,
    resume: IslandsCheckpoint | None = None,
    references: Sequence[Floats | None] | None = None,
    insist: bool = False,
) -> Archipelago:
    """Search on every island until its budget is spent or its space is exhausted.

    Args:
        islands: the searches. Those that have the very same problem object have a joint front. The problems'
            spaces may be restricted differently, but have the same genes.
        executor: who works; problems are sent to its workers once. With `ray` they must be such as can be sent.
        rng: the only source of randomness.
        evaluations: each island's budget in scored candidates; those that it takes in from others count.
        generations: each island's budget in generations.
        seconds: budget in time, of all together and looked at between epochs; see `Budget`.
        stalled: budget in generations in which no joint front became better, looked at between epochs.
        migration: who sends what when; by default in a ring, five members every five generations.
        on_epoch: called after every epoch; what it raises ends the search.
        on_stop: told at the end why the search ended.
        resume: go on from here exactly as if the search had never stopped.
        references: reference point (m,) of the hypervolume per different problem; see `search`.
        insist: search even where no candidate was found whose costs meet an island's constraints together.

    Raises:
        InvalidIslandsError: there is no island, or spaces have different genes.
        InvalidBudgetError: there is no budget, or one that makes no sense.
        UnknownNameError, InvalidOptionError: see `search`.
        IslandError: a search failed every attempt.
        InfeasibleError: no island found a candidate that meets its constraints, or those of some are known to be
            out of reach, or, together, were not found to be met; the message names these islands.
        CorruptFileError: the checkpoint is that of other islands, or does not hold together.
    """
    budget = Budget(evaluations, generations, seconds, stalled)
    _refuse_infeasible([island.problem for island in islands], together=not insist and resume is None)
    run = IslandsRun(islands, migration or Migration(), rng, budget, references)
    if resume is not None:
        run.restore(resume)
    while (reason := run.stopped()) is None:
        epoch = run.advance(executor)
        if on_epoch is not None:
            on_epoch(epoch)
    if on_stop is not None:
        on_stop(reason)
    return run.found()


def _refuse_infeasible(problems: Sequence[Problem], together: bool) -> None:
    """Accept islands that each may find something, and name all that can not."""
    refused = []
    for problem in {id(problem): problem for problem in problems}.values():
        try:
            refuse_unreachable(problem)
            if together:
                refuse_together(problem)
        except InfeasibleError as error:
            refused.append(f"{_named(problem, problems)}{error}")
    if refused:
        raise InfeasibleError(" ".join(refused))


def _named(problem: Problem, problems: Sequence[Problem]) -> str:
    """Which islands have a problem, counted from 1; nothing where all have."""
    numbers = [number for number, one in enumerate(problems, 1) if one is problem]
    if len(numbers) == len(problems):
        return ""
    return f"island{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of {len(problems)}: "
