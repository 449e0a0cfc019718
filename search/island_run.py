"""Islands in progress: epochs, migration, joint fronts, and what a checkpoint remembers of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bitfront.search.archive import Archive, Rows
from bitfront.search.budget import Budget, Growth, Spent
from bitfront.search.constraints import Floats
from bitfront.search.executors.base import Executor, Failure
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.island_epoch import Order, Progressed, Setting, make_worker
from bitfront.search.island_records import (
    Archipelago,
    Common,
    Epoch,
    Island,
    IslandError,
    IslandsCheckpoint,
    Migration,
    check_islands,
)
from bitfront.search.island_values import FirstValues
from bitfront.search.problem import Metrics, Problem
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.generator_state import generator_state, set_generator_state
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.genes import Genomes


class IslandsRun:
    """Islands in progress. An island's candidates are rows of what the islands of its problem found together."""

    def __init__(
        self,
        islands: Sequence[Island],
        migration: Migration,
        rng: np.random.Generator,
        budget: Budget,
        references: Sequence[Floats | None] | None,
    ) -> None:
        check_islands(islands)
        self.problems = list({id(island.problem): island.problem for island in islands}.values())
        self.of = [next(i for i, one in enumerate(self.problems) if one is island.problem) for island in islands]
        self.values = FirstValues(self.problems)
        self.archives = self.values.archives
        self.references: list[Floats | None] = list(references or [None] * len(self.problems))
        self.rows: list[Rows] = [np.empty(0, dtype=np.intp) for _ in islands]
        self.fronts = list(self.rows)  # which of them each island has on its own front
        self.states: list[dict[str, Any]] = []
        for island, own in zip(islands, rng.spawn(len(islands)), strict=True):
            strategy = make_strategy(island.strategy, island.problem, own, island.options)
            strategy.plan(budget.most(strategy.population))
            self.states.append(strategy.state())
        self.done = [False] * len(islands)
        self.epochs = self.generations = 0
        self.growth = [Growth() for _ in self.problems]
        self.rng, self.migration, self.budget = rng, migration, budget
        self._begun = time.monotonic()
        # One object for all epochs, so that an executor sends it once and keeps its workers.
        self.settings = tuple(
            Setting(island.problem, island.strategy, dict(island.options), budget.evaluations)
            for island in islands
        )

    def stopped(self) -> str | None:
        """Why the search ends now, in words; None while it goes on."""
        if all(self.done):
            scored = sum(map(len, self.rows))
            return f"{scored:,} candidates are scored: each island has spent its budget, or knows all of its space"
        # An island that has spent its candidates is done.
        return self.budget.reached(replace(self._spent(), evaluations=0))

    def _spent(self) -> Spent:
        at_work = [len(rows) for rows, done in zip(self.rows, self.done, strict=True) if not done]
        return Spent(
            evaluations=min(at_work, default=max(map(len, self.rows))),
            generations=self.generations,
            seconds=time.monotonic() - self._begun,
            still=self.generations - max(growth.generation for growth in self.growth),
        )

    # -- an epoch ---------------------------------------------------------------------------------------

    def advance(self, executor: Executor) -> Epoch:
        """Take every island that is not done through an epoch.

        Raises:
            IslandError: one failed every attempt.
        """
        first_rows = tuple(len(archive) for archive in self.archives)
        sources, generations = self._sources(), self._generations()
        orders = [
            self._order(island, sources[island], generations) for island, done in enumerate(self.done) if not done
        ]
        results = executor.map(make_worker, self.settings, orders)
        for order, result in zip(orders, results, strict=True):
            if isinstance(result, Failure):
                raise IslandError(
                    f"island {order.island + 1} failed {result.attempts} times, the last time with {result.error}"
                )
            self._take(order.island, result)
        self.epochs += 1
        self.generations += generations
        self._fix_references()
        return self._epoch(first_rows)

    def _generations(self) -> int:
        limit = self.budget.generations
        return self.migration.every if limit is None else min(self.migration.every, limit - self.generations)

    def _sources(self) -> list[int | None]:
        """Whose migrants each island takes in: nobody's in the first epoch, nor where it is alone."""
        n = len(self.rows)
        if self.epochs == 0 or n == 1 or self.migration.migrants == 0:
            return [None] * n
        ring = self.rng.permutation(n) if self.migration.topology == "random" else np.arange(n)
        sources = np.empty(n, dtype=np.intp)
        sources[ring] = np.roll(ring, 1)
        return list(map(int, sources))

    def _order(self, island: int, source: int | None, generations: int) -> Order:
        genomes, metrics = self._history(island)
        sent = genomes[:0] if source is None else self._sent(source)
        migrants, scored, strangers = self._received(self.of[island], sent)
        return Order(island, self.states[island], genomes, metrics, migrants, scored, strangers, generations)

    def _history(self, island: int) -> tuple[Genomes, Metrics]:
        archive, rows = self.archives[self.of[island]], self.rows[island]
        if not len(rows):
            return archive.genomes[:0], {}
        return archive.genomes[rows], archive.evaluation.take(rows).metrics

    def _sent(self, island: int) -> Genomes:
        front = self._front(island)
        return front.genomes[front.spread(self.migration.migrants)] if len(front) else front.genomes

    def _received(self, problem: int, sent: Genomes) -> tuple[Genomes, Metrics, Genomes]:
        """Migrants as a problem's space has them: those whose metrics are known, the metrics, and the others."""
        if len(sent):
            repaired = self.problems[problem].space.repair(sent)
            sent = repaired[np.sort(np.unique(repaired, axis=0, return_index=True)[1])]
        return self.values.known(problem, sent)

    def _take(self, island: int, result: Progressed) -> None:
        self.states[island] = result.state
        if len(result.genomes):
            own = self.of[island]
            rows = self.values.add(own, result.genomes, result.metrics, result.errors)
            self.rows[island] = np.concatenate([self.rows[island], rows])
            agrees = self.values.are(own, rows, result.metrics)
            self.fronts[island] = self.rows[island][result.front] if agrees else self._front_rows(island)
        spent = self.budget.left(len(self.rows[island])) == 0
        self.done[island] = spent or not len(result.genomes)

    def _fix_references(self) -> None:
        for problem, archive in enumerate(self.archives):
            if self.references[problem] is None and len(archive):
                F = archive.evaluation.F
                scored = F[np.isfinite(F).all(axis=1)]
                self.references[problem] = reference_point(scored) if len(scored) else None

    def _epoch(self, first_rows: tuple[int, ...]) -> Epoch:
        common = self._common()
        for problem, one in enumerate(common):
            least = float(one.evaluation.violation.min(initial=np.inf)) if len(one.genomes) else math.inf
            self.growth[problem] = self.growth[problem].after(self.generations, one.hypervolume, least)
        spent = self._spent()
        left = self.budget.expected(spent) - self.generations
        return Epoch(
            index=self.epochs - 1,
            common=tuple(common),
            first_rows=first_rows,
            evaluations=sum(map(len, self.rows)),
            rows=tuple(self.rows),
            generations=self.generations,
            expected_epochs=self.epochs + (0 if all(self.done) else math.ceil(left / self.migration.every)),
            state=self._state(spent),
        )

    def _common(self) -> list[Common]:
        found = []
        for archive, reference in zip(self.archives, self.references, strict=True):
            F = archive.evaluation.F[archive.front]
            share = 0.0 if reference is None else hypervolume(F, reference)
            found.append(Common(archive.genomes, archive.evaluation, archive.front.copy(), share))
        return found

    # -- the end ----------------------------------------------------------------------------------------

    def found(self) -> Archipelago:
        """What every island found, and the islands of each problem together.

        Raises:
            InfeasibleError: none of them found anything feasible.
        """
        fronts = [self._front(island) for island in range(len(self.rows))]
        if not any(map(len, fronts)):
            raise self.problems[0].explain_infeasible(self.archives[0].evaluation)
        joint = [
            _front_of(problem, archive, archive.front)
            for problem, archive in zip(self.problems, self.archives, strict=True)
        ]
        return Archipelago(tuple(fronts), tuple(joint))

    def _front(self, island: int) -> Front:
        """Its own front; numbers are those of the candidates that all islands of its problem found."""
        own = self.of[island]
        return _front_of(self.problems[own], self.archives[own], self.fronts[island])

    def _front_rows(self, island: int) -> Rows:
        """The front of all that an island has scored, worked out anew."""
        own, rows = self.of[island], self.rows[island]
        alone = Archive(self.problems[own].space.n_genes)
        if len(rows):
            alone.add(self.archives[own].genomes[rows], self.archives[own].evaluation.take(rows))
        return rows[alone.front]

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
                    "options": state["options"],
                }
                for setting, problem, state in zip(self.settings, self.of, self.states, strict=True)
            ],
            "migration": [self.migration.every, self.migration.migrants, self.migration.topology],
        }

    def _state(self, spent: Spent) -> dict[str, Any]:
        # Time is part of a state only where it matters, so that all other states are the same for the same seed.
        clock = {} if self.budget.seconds is None else {"seconds": spent.seconds}
        return {
            **self._identity(),
            **clock,
            "epochs": self.epochs,
            "generations": self.generations,
            "growth": [growth.to_json() for growth in self.growth],
            "candidates": [len(archive) for archive in self.archives],
            "references": list(self.references),
            "generator": generator_state(self.rng),
            "rows": list(self.rows),
            "states": list(self.states),
            "done": list(self.done),
        }

    def restore(self, checkpoint: IslandsCheckpoint) -> None:
        """Put the state of another run of the same islands in place.

        Raises:
            CorruptFileError: it is that of other islands, or does not hold together.
        """
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
            if len(genomes):
                self.values.add(problem, genomes, metrics, {})
        self.rows = [np.asarray(rows, dtype=np.intp) for rows in state["rows"]]
        self.fronts = [self._front_rows(island) for island in range(len(self.rows))]
        self.states = [dict(one) for one in state["states"]]
        self.done = [bool(one) for one in state["done"]]
        self.references = [
            None if point is None else np.asarray(point, dtype=np.float64) for point in state["references"]
        ]
        self.epochs, self.generations = int(state["epochs"]), int(state["generations"])
        self.growth = [Growth.from_json(growth) for growth in state["growth"]]
        self._begun -= float(state.get("seconds", 0.0))
        set_generator_state(self.rng, state["generator"])


def _front_of(problem: Problem, archive: Archive, rows: Rows) -> Front:
    if not len(archive):
        return Front.of(problem.objectives, archive.genomes, {})
    metrics = archive.evaluation.take(rows).metrics
    return Front.of(problem.objectives, archive.genomes[rows], metrics, ids=rows)
