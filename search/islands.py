"""Several searches side by side that send each other their best; seeds, strategies and problems may differ.

The island model of parallel evolutionary search (Cohoon et al. 1987). An epoch is some generations of every
island, each worked on by one worker of an executor; then members that are spread over an island's front go to a
neighbour, which scores them as its own problem does. Islands wait for each other at the end of an epoch, so that
what comes out depends on the seed alone, and not on where and when who worked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bitfront.search.archive import Archive, Rows
from bitfront.search.constraints import Floats
from bitfront.search.executors.base import Executor, Failure
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.island_epoch import Order, Progressed, Setting, make_worker
from bitfront.search.island_records import (
    Archipelago,
    Common,
    Epoch,
    InvalidIslandsError,
    Island,
    IslandError,
    IslandsCheckpoint,
    Migration,
    check_islands,
)
from bitfront.search.problem import Metrics, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.generator_state import generator_state, set_generator_state
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.genes import Genomes

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
    evaluations: int,
    migration: Migration | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: IslandsCheckpoint | None = None,
    references: Sequence[Floats | None] | None = None,
) -> Archipelago:
    """Search on every island until its budget is spent or its space is exhausted.

    Args:
        islands: the searches. Those that have the very same problem object have a joint front. The problems'
            spaces may be restricted differently, but have the same genes.
        executor: who works; problems are sent to its workers once. With `ray` they must be such as can be sent.
        rng: the only source of randomness.
        evaluations: each island's budget in scored candidates; those that it takes in from others count.
        migration: who sends what when; by default in a ring, five members every five generations.
        on_epoch: called after every epoch; what it raises ends the search.
        resume: go on from here exactly as if the search had never stopped.
        references: reference point (m,) of the hypervolume per different problem; see `search`.

    Raises:
        InvalidIslandsError: there is no island, the budget is below 1, or spaces have different genes.
        UnknownNameError, InvalidOptionError: see `search`.
        IslandError: a search failed every attempt.
        InfeasibleError: an island found no candidate that meets its constraints.
        CorruptFileError: the checkpoint is that of other islands, or does not hold together.
    """
    run = _Run(islands, migration or Migration(), rng, evaluations, references)
    if resume is not None:
        run.restore(resume)
    while not run.over:
        epoch = run.advance(executor)
        if on_epoch is not None:
            on_epoch(epoch)
    return run.found()


class _Run:
    """Islands in progress. An island's candidates are rows of what the islands of its problem found together."""

    def __init__(
        self,
        islands: Sequence[Island],
        migration: Migration,
        rng: np.random.Generator,
        evaluations: int,
        references: Sequence[Floats | None] | None,
    ) -> None:
        check_islands(islands, evaluations)
        self.problems = list({id(island.problem): island.problem for island in islands}.values())
        self.of = [next(i for i, one in enumerate(self.problems) if one is island.problem) for island in islands]
        self.archives = [Archive(problem.space.n_genes) for problem in self.problems]
        self.references: list[Floats | None] = list(references or [None] * len(self.problems))
        self.places: list[dict[bytes, int]] = [{} for _ in self.problems]
        self.rows: list[Rows] = [np.empty(0, dtype=np.intp) for _ in islands]
        self.states: list[dict[str, Any]] = []
        for island, own in zip(islands, rng.spawn(len(islands)), strict=True):
            strategy = make_strategy(island.strategy, island.problem, own, island.options)
            strategy.plan(evaluations)
            self.states.append(strategy.state())
        self.done = [False] * len(islands)
        self.epochs = 0
        self.rng, self.migration = rng, migration
        # One object for all epochs, so that an executor sends it once and keeps its workers.
        self.settings = tuple(
            Setting(island.problem, island.strategy, dict(island.options), migration.every, evaluations)
            for island in islands
        )

    @property
    def over(self) -> bool:
        return all(self.done)

    # -- an epoch ---------------------------------------------------------------------------------------

    def advance(self, executor: Executor) -> Epoch:
        first_rows = tuple(len(archive) for archive in self.archives)
        sources = self._sources()
        orders = [self._order(island, sources[island]) for island, done in enumerate(self.done) if not done]
        results = executor.map(make_worker, self.settings, orders)
        for order, result in zip(orders, results, strict=True):
            if isinstance(result, Failure):
                raise IslandError(
                    f"island {order.island} failed {result.attempts} times, the last time with {result.error}"
                )
            self._take(order.island, result)
        self.epochs += 1
        self._fix_references()
        return self._epoch(first_rows)

    def _sources(self) -> list[int | None]:
        """Whose migrants each island takes in: nobody's in the first epoch, nor where it is alone."""
        n = len(self.rows)
        if self.epochs == 0 or n == 1 or self.migration.migrants == 0:
            return [None] * n
        ring = self.rng.permutation(n) if self.migration.topology == "random" else np.arange(n)
        sources = np.empty(n, dtype=np.intp)
        sources[ring] = np.roll(ring, 1)
        return list(map(int, sources))

    def _order(self, island: int, source: int | None) -> Order:
        genomes, metrics = self._history(island)
        migrants = genomes[:0] if source is None else self._migrants(source)
        return Order(island, self.states[island], genomes, metrics, migrants)

    def _history(self, island: int) -> tuple[Genomes, Metrics]:
        archive, rows = self.archives[self.of[island]], self.rows[island]
        if not len(rows):
            return archive.genomes[:0], {}
        return archive.genomes[rows], archive.evaluation.take(rows).metrics

    def _migrants(self, island: int) -> Genomes:
        front = self._front(island)
        return front.genomes[front.spread(self.migration.migrants)] if len(front) else front.genomes

    def _take(self, island: int, result: Progressed) -> None:
        self.states[island] = result.state
        if len(result.genomes):
            rows = self._filed(self.of[island], result.genomes, result.metrics)
            self.rows[island] = np.concatenate([self.rows[island], rows])
        self.done[island] = not len(result.genomes) or len(self.rows[island]) >= self.settings[island].evaluations

    def _filed(self, problem: int, genomes: Genomes, metrics: Metrics) -> Rows:
        """Where candidates stand among all of their problem, once they are there."""
        archive, places = self.archives[problem], self.places[problem]
        new = genomes[archive.fresh(genomes)]
        rows = archive.add(genomes, self.problems[problem].judge(metrics))
        places.update(zip(map(bytes, new), rows.tolist(), strict=True))
        return np.array([places[genome.tobytes()] for genome in genomes], dtype=np.intp)

    def _fix_references(self) -> None:
        for problem, archive in enumerate(self.archives):
            if self.references[problem] is None and len(archive):
                F = archive.evaluation.F
                scored = F[np.isfinite(F).all(axis=1)]
                self.references[problem] = reference_point(scored) if len(scored) else None

    def _epoch(self, first_rows: tuple[int, ...]) -> Epoch:
        scored = sum(len(rows) for rows in self.rows)
        return Epoch(self.epochs - 1, tuple(self._common()), first_rows, scored, self._state())

    def _common(self) -> list[Common]:
        found = []
        for archive, reference in zip(self.archives, self.references, strict=True):
            F = archive.evaluation.F[archive.front]
            share = 0.0 if reference is None else hypervolume(F, reference)
            found.append(Common(archive.genomes, archive.evaluation, archive.front.copy(), share))
        return found

    # -- the end ----------------------------------------------------------------------------------------

    def found(self) -> Archipelago:
        fronts = [self._front(island) for island in range(len(self.rows))]
        for front, problem in zip(fronts, self.of, strict=True):
            if not len(front):
                raise self.problems[problem].explain_infeasible(self.archives[problem].evaluation)
        joint = [
            _front_of(problem, archive, archive.front)
            for problem, archive in zip(self.problems, self.archives, strict=True)
        ]
        return Archipelago(tuple(fronts), tuple(joint))

    def _front(self, island: int) -> Front:
        """Its own front; numbers are those of the candidates that all islands of its problem found."""
        own = self.of[island]
        rows, everything = self.rows[island], self.archives[own]
        alone = Archive(self.problems[own].space.n_genes)
        if not len(rows):
            return _front_of(self.problems[own], everything, rows)
        alone.add(everything.genomes[rows], everything.evaluation.take(rows))
        return _front_of(self.problems[own], everything, rows[alone.front])

    # -- memory -----------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        return {
            "islands": [
                {
                    "strategy": setting.strategy,
                    "space": setting.problem.space.hash(),
                    "objectives": list(setting.problem.objectives),
                    "constraints": [str(constraint) for constraint in setting.problem.constraints],
                    "problem": problem,
                }
                for setting, problem in zip(self.settings, self.of, strict=True)
            ],
            "migration": [self.migration.every, self.migration.migrants, self.migration.topology],
        }

    def _state(self) -> dict[str, Any]:
        return {
            **self._identity(),
            "epochs": self.epochs,
            "candidates": [len(archive) for archive in self.archives],
            "references": list(self.references),
            "generator": generator_state(self.rng),
            "rows": list(self.rows),
            "states": list(self.states),
            "done": list(self.done),
        }

    def restore(self, checkpoint: IslandsCheckpoint) -> None:
        for name, value in self._identity().items():
            if checkpoint.state.get(name) != value:
                raise CorruptFileError(
                    f"the checkpoint's {name} are {checkpoint.state.get(name)!r}, but these are {value!r}: "
                    "resume it with the settings it was launched with, or launch it anew"
                )
        try:
            self._restore(checkpoint.state, checkpoint.common)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptFileError(
                f"the checkpoint does not hold together ({error!r}): launch the search anew"
            ) from error

    def _restore(self, state: Mapping[str, Any], common: Sequence[tuple[Genomes, Metrics]]) -> None:
        if [len(genomes) for genomes, _ in common] != list(state["candidates"]):
            raise ValueError(f"{state['candidates']} candidates were to come with it")
        for problem, (genomes, metrics) in enumerate(common):
            self._filed(problem, genomes, metrics)
        self.rows = [np.asarray(rows, dtype=np.intp) for rows in state["rows"]]
        self.states = [dict(one) for one in state["states"]]
        self.done = [bool(one) for one in state["done"]]
        self.references = [
            None if point is None else np.asarray(point, dtype=np.float64) for point in state["references"]
        ]
        self.epochs = int(state["epochs"])
        set_generator_state(self.rng, state["generator"])


def _front_of(problem: Problem, archive: Archive, rows: Rows) -> Front:
    if not len(archive):
        return Front.of(problem.objectives, archive.genomes, {})
    metrics = archive.evaluation.take(rows).metrics
    return Front.of(problem.objectives, archive.genomes[rows], metrics, ids=rows)
