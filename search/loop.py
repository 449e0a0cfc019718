"""The search loop: it owns budget, archive, hypervolume and checkpoints; strategies own ideas."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.constraints import Floats
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.problem import Evaluation, Metrics, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.base import Strategy
from bitfront.supernet.errors import BitfrontError, CorruptFileError
from bitfront.supernet.genes import Genomes


class InvalidBudgetError(BitfrontError):
    """A search has no budget, or one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One turn of the loop.

    ``genomes`` (n, n_genes) and ``evaluation`` are the candidates scored in it; ``first_row`` is the number of
    the first of them when all candidates of the search are counted from 0 in order. ``front`` holds the numbers
    of those that are on the front now, of this and all earlier generations, and ``front_genomes`` their genomes.
    ``hypervolume`` is the front's share of the box up to the fixed reference point; ``evaluations`` counts from
    the search's beginning. ``state``, with all candidates so far, is what a `Checkpoint` needs: plain JSON values
    and arrays of numbers.
    """

    index: int
    genomes: Genomes
    evaluation: Evaluation
    first_row: int
    front: Rows
    front_genomes: Genomes
    hypervolume: float
    evaluations: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a search goes on: the last stored `Generation.state` and all candidates up to it, in order."""

    state: Mapping[str, Any]
    genomes: Genomes
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends: after so many scored candidates, so many generations, or whichever comes first.

    Raises:
        InvalidBudgetError: no limit is given, or one is below 1.
    """

    evaluations: int | None = None
    generations: int | None = None

    def __post_init__(self) -> None:
        if self.evaluations is None and self.generations is None:
            raise InvalidBudgetError("a search needs a budget: give evaluations, generations or both")
        for name, limit in (("evaluations", self.evaluations), ("generations", self.generations)):
            if limit is not None and limit < 1:
                raise InvalidBudgetError(f"the budget of {name} is {limit}: it must be at least 1")

    def left(self, evaluations: int, generations: int) -> int | None:
        """Candidates that may still be scored; None is no limit."""
        if self.generations is not None and generations >= self.generations:
            return 0
        return None if self.evaluations is None else max(self.evaluations - evaluations, 0)


def search(
    problem: Problem,
    strategy: str = "nsga2",
    *,
    rng: np.random.Generator,
    evaluations: int | None = None,
    generations: int | None = None,
    options: Mapping[str, Any] | None = None,
    on_generation: Callable[[Generation], None] | None = None,
    resume: Checkpoint | None = None,
    reference: Floats | None = None,
) -> Front:
    """Search until the budget is spent or the space is exhausted, and return the front of all that was scored.

    Args:
        problem: what is searched for.
        strategy: a name out of `STRATEGIES`.
        rng: the only source of randomness: same problem, options and seed, same front.
        evaluations: budget in scored candidates.
        generations: budget in turns of the loop.
        options: the strategy's own options, such as ``population``.
        on_generation: called after every generation; what it raises ends the search.
        resume: go on from here exactly as if the search had never stopped; the budget counts from its beginning.
        reference: reference point of the hypervolume, shape (m,), in the units of F; without it, it is fixed
            10 % beyond the worst of the first generation.

    Raises:
        UnknownNameError: the strategy or one of its options is unknown.
        InvalidBudgetError: there is no budget.
        InvalidOptionError: an option is out of its range.
        CorruptFileError: the checkpoint is that of another search, or does not hold together.
        InfeasibleError: no candidate met the constraints.
        NumericalError: the predictor or the costs gave NaN or infinity.
    """
    budget = Budget(evaluations, generations)
    run = _Run(problem, strategy, make_strategy(strategy, problem, rng, options or {}), reference)
    if resume is not None:
        run.restore(resume)
    for index in itertools.count(run.generations):
        left = budget.left(len(run.strategy.archive), index)
        generation = run.step(left) if left != 0 else None
        if generation is None:
            return run.front()
        if on_generation is not None:
            on_generation(generation)
    raise AssertionError("unreachable")


class _Run:
    """A search in progress."""

    def __init__(self, problem: Problem, name: str, strategy: Strategy, reference: Floats | None) -> None:
        self.problem = problem
        self.strategy = strategy
        self.reference = reference
        self.generations = 0
        self._identity: dict[str, Any] = {
            "strategy": name,
            "space": problem.space.hash(),
            "objectives": list(problem.objectives),
            "constraints": [str(constraint) for constraint in problem.constraints],
        }

    def step(self, most: int | None) -> Generation | None:
        """Ask, score, tell; None when the space has nothing left."""
        genomes = self.strategy.ask(most)
        if not len(genomes):
            return None
        evaluation = self.problem.evaluate(genomes)
        rows = self.strategy.tell(genomes, evaluation)
        scored = evaluation.F[np.isfinite(evaluation.F).all(axis=1)]
        if self.reference is None and len(scored):
            self.reference = reference_point(scored)
        self.generations += 1
        return self._generation(genomes, evaluation, int(rows[0]))

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
        evaluation = self.problem.judge(checkpoint.metrics)
        self.strategy.restore(state["strategy_state"], checkpoint.genomes, evaluation)

    def front(self) -> Front:
        archive = self.strategy.archive
        if not len(archive.front):
            raise self.problem.explain_infeasible(archive.evaluation)
        genomes, evaluation = self.strategy.best()
        return Front.of(self.problem.objectives, genomes, evaluation.metrics, ids=archive.front)

    def _generation(self, genomes: Genomes, evaluation: Evaluation, first_row: int) -> Generation:
        archive, front = self.strategy.archive, self.strategy.archive.evaluation.F[self.strategy.archive.front]
        return Generation(
            index=self.generations - 1,
            genomes=genomes,
            evaluation=evaluation,
            first_row=first_row,
            front=archive.front.copy(),
            front_genomes=archive.genomes[archive.front],
            # Without a reference point everything has failed so far.
            hypervolume=0.0 if self.reference is None else hypervolume(front, self.reference),
            evaluations=len(archive),
            state=self._state(),
        )

    def _state(self) -> dict[str, Any]:
        return {
            **self._identity,
            "evaluations": len(self.strategy.archive),
            "generations": self.generations,
            "reference": self.reference,
            "strategy_state": self.strategy.state(),
        }
