"""The search loop: it owns budget, archive, hypervolume and checkpoints; strategies own ideas."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.budget import Budget, Growth, InvalidBudgetError, Spent
from bitfront.search.constraints import Floats
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.problem import Evaluation, Metrics, Problem
from bitfront.search.reachable import refuse_together, refuse_unreachable
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.base import Strategy
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.genes import Genomes

__all__ = ["Budget", "Checkpoint", "Generation", "InvalidBudgetError", "search"]


@dataclass(frozen=True, slots=True)
class Generation:
    """One turn of the loop.

    ``genomes`` (n, n_genes) and ``evaluation`` are the candidates scored in it; ``first_row`` is the number of
    the first of them when all candidates of the search are counted from 0 in order. ``front`` holds the numbers
    of those that are on the front now, of this and all earlier generations, and ``front_genomes`` their genomes.
    ``hypervolume`` is the front's share of the box up to the fixed reference point; ``evaluations`` counts from
    the search's beginning. ``expected_generations`` says how many there will be, as far as can be told now, and
    is ``index + 1`` when this was the last. ``state``, with all candidates so far, is what a `Checkpoint` needs:
    plain JSON values and arrays of numbers.
    """

    index: int
    genomes: Genomes
    evaluation: Evaluation
    first_row: int
    front: Rows
    front_genomes: Genomes
    hypervolume: float
    evaluations: int
    expected_generations: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a search goes on: the last stored `Generation.state` and all candidates up to it, in order."""

    state: Mapping[str, Any]
    genomes: Genomes
    metrics: Metrics


def search(
    problem: Problem,
    strategy: str = "nsga2",
    *,
    rng: np.random.Generator,
    evaluations: int | None = None,
    generations: int | None = None,
    seconds: float | None = None,
    stalled: int | None = None,
    options: Mapping[str, Any] | None = None,
    on_generation: Callable[[Generation], None] | None = None,
    on_stop: Callable[[str], None] | None = None,
    resume: Checkpoint | None = None,
    reference: Floats | None = None,
    insist: bool = False,
) -> Front:
    """Search until the budget is spent or the space is exhausted, and return the front of all that was scored.

    Args:
        problem: what is searched for.
        strategy: a name out of `STRATEGIES`.
        rng: the only source of randomness: same problem, options and seed, same front.
        evaluations: budget in scored candidates.
        generations: budget in turns of the loop.
        seconds: budget in time; with it alone, the same seed need not give the same front.
        stalled: budget in turns of the loop that do not make the front better. See `Budget` for all four.
        options: the strategy's own options, such as ``population``.
        on_generation: called after every generation; what it raises ends the search.
        on_stop: told at the end why the search ended.
        resume: go on from here exactly as if the search had never stopped; the budget counts from its beginning.
        reference: reference point of the hypervolume, shape (m,), in the units of F; without it, it is fixed
            10 % beyond the worst of the first generation in which anything could be scored.
        insist: search even where no candidate was found whose costs meet the constraints together; see
            `refuse_together`.

    Raises:
        UnknownNameError: the strategy or one of its options is unknown.
        InvalidBudgetError: there is no budget.
        InvalidOptionError: an option is out of its range.
        CorruptFileError: the checkpoint is that of another search, or does not hold together.
        InfeasibleError: no candidate met the constraints, one is known to be out of reach, or no candidate was
            found that meets those on costs together.
        NumericalError: the predictor or the costs gave NaN or infinity.
    """
    refuse_unreachable(problem)
    if not insist and resume is None:
        refuse_together(problem)
    budget = Budget(evaluations, generations, seconds, stalled)
    maker = make_strategy(strategy, problem, rng, options or {})
    maker.plan(budget.most(maker.population))
    run = _Run(problem, strategy, maker, reference, budget)
    if resume is not None:
        run.restore(resume)
    while (reason := run.stopped()) is None:
        generation = run.step()
        if generation is not None and on_generation is not None:
            on_generation(generation)
    if on_stop is not None:
        on_stop(reason)
    return run.front()


class _Run:
    """A search in progress."""

    def __init__(
        self, problem: Problem, name: str, strategy: Strategy, reference: Floats | None, budget: Budget
    ) -> None:
        self.problem = problem
        self.strategy = strategy
        self.reference = reference
        self.budget = budget
        self.generations = 0
        self._growth = Growth()
        self._begun = time.monotonic()
        self._exhausted = False
        self._identity: dict[str, Any] = {
            "strategy": name,
            "space": problem.space.hash(),
            "objectives": list(problem.objectives),
            "constraints": [str(constraint) for constraint in problem.constraints],
        }

    def stopped(self) -> str | None:
        """Why the search ends now, in words; None while it goes on."""
        if self._exhausted:
            scored = len(self.strategy.archive)
            return f"{scored:,} candidates are scored, and the strategy finds no other one in this space"
        return self.budget.reached(self._spent())

    def step(self) -> Generation | None:
        """Ask, score, tell; None when the space has nothing left."""
        genomes = self.strategy.ask(self.budget.left(len(self.strategy.archive)))
        if not len(genomes):
            self._exhausted = True
            return None
        evaluation = self.problem.evaluate(genomes)
        rows = self.strategy.tell(genomes, evaluation)
        scored = np.isfinite(evaluation.F).all(axis=1)
        if self.reference is None and scored.any():
            self.reference = reference_point(evaluation.F[scored])
        self.generations += 1
        return self._generation(genomes, evaluation, int(rows[0]))

    def _spent(self) -> Spent:
        return Spent(
            evaluations=len(self.strategy.archive),
            generations=self.generations,
            seconds=time.monotonic() - self._begun,
            still=self.generations - self._growth.generation,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put the state of another run of the same search in place."""
        for field, value in self._identity.items():
            found = checkpoint.state.get(field)
            if found != value:
                raise CorruptFileError(
                    f"the checkpoint's {field} is {found!r}, but this search's is {value!r}: "
                    "resume it with the settings it was launched with, or launch it anew"
                )
        try:
            self._restore(checkpoint.state, checkpoint)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(
                f"the checkpoint does not hold together ({error!r}): launch the search anew"
            ) from error

    def _restore(self, state: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        if state["evaluations"] != len(checkpoint.genomes):
            raise CorruptFileError(
                f"the checkpoint speaks of {state['evaluations']} candidates, but {len(checkpoint.genomes)} came "
                "with it: give all candidates up to it, in the order in which they were scored"
            )
        reference = state["reference"]
        self.reference = None if reference is None else np.asarray(reference, dtype=np.float64)
        self.generations = int(state["generations"])
        # Searches that were stored before there were these limits have neither.
        self._growth = Growth.from_json(state.get("growth", [0.0, None, self.generations]))
        self._begun -= float(state.get("seconds", 0.0))
        evaluation = self.problem.judge(checkpoint.metrics)
        self.strategy.restore(state["strategy_state"], checkpoint.genomes, evaluation)

    def front(self) -> Front:
        archive = self.strategy.archive
        if not len(archive.front):
            raise self.problem.explain_infeasible(archive.evaluation)
        genomes, evaluation = self.strategy.best()
        return Front.of(self.problem.objectives, genomes, evaluation.metrics, ids=archive.front)

    def _generation(self, genomes: Genomes, evaluation: Evaluation, first_row: int) -> Generation:
        archive, reference = self.strategy.archive, self.reference
        front = archive.evaluation.F[archive.front]
        volume = hypervolume(front, reference) if reference is not None else 0.0
        least = float(evaluation.violation.min(initial=np.inf))
        self._growth = self._growth.after(self.generations, volume, least)
        spent = self._spent()
        return Generation(
            index=self.generations - 1,
            genomes=genomes,
            evaluation=evaluation,
            first_row=first_row,
            front=archive.front.copy(),
            front_genomes=archive.genomes[archive.front],
            hypervolume=volume,
            evaluations=len(archive),
            expected_generations=self.budget.expected(spent),
            state=self._state(spent),
        )

    def _state(self, spent: Spent) -> dict[str, Any]:
        # Time is part of a state only where it matters, so that all other states are the same for the same seed.
        clock = {} if self.budget.seconds is None else {"seconds": spent.seconds}
        return {
            **self._identity,
            **clock,
            "evaluations": spent.evaluations,
            "generations": spent.generations,
            "growth": self._growth.to_json(),
            "reference": self.reference,
            "strategy_state": self.strategy.state(),
        }
