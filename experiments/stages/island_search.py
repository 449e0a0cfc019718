"""Stage 5 with islands: several searches side by side, stored epoch by epoch as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bitfront.experiments.run import Run
from bitfront.experiments.spec_errors import Problem as SpecProblem
from bitfront.experiments.spec_errors import SpecError, shown
from bitfront.experiments.spec_islands import IslandSection
from bitfront.experiments.spec_meaning import fix_genes
from bitfront.experiments.stages.search_records import StoredSearch, archived, stored_search, tell_errors
from bitfront.experiments.store import records
from bitfront.search.archive import Archive, Rows
from bitfront.search.constraints import Floats, parse_constraint
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.islands import Archipelago, Epoch, Island, IslandsCheckpoint, Migration, search_islands
from bitfront.search.narrowed import NarrowedProblem
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.search.reachable import refuse_together, refuse_unreachable
from bitfront.search.scored import Scored
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.space import SearchSpace


def islands_front(run: Run, problem: Problem) -> Front:
    """The front of all that the spec's islands find, by ``problem``; goes on from the last stored epoch.

    Raises:
        InfeasibleError: no candidate meets the constraints, or those that an island has beside them.
        SpecError: an island fixes a gene to choices that are not there.
        IslandError: an island's search failed every attempt.
    """
    settings = run.spec.search
    wanted, islands = settings.islands, _islands(run, problem)
    found, stored = _Found(problem, islands), stored_search(run, problem)
    resume = None if stored is None else found.restore(stored)
    refuse_unreachable(problem)  # what all islands have in common is no single one's matter
    if resume is None and not settings.insist:
        refuse_together(problem)
    with archived(run, problem, stored) as archive:
        try:
            ended = search_islands(
                islands,
                run.executor(),
                rng=run.rng("search"),
                evaluations=None if settings.evaluations is None else settings.evaluations // wanted.number,
                generations=settings.generations,
                seconds=settings.seconds,
                stalled=settings.stalled,
                migration=Migration(wanted.every, wanted.migrants, wanted.topology),
                on_epoch=_keeper(run, found, archive),
                on_stop=lambda reason: run.reporter.say(f"the search ends: {reason}"),
                resume=resume,
                insist=settings.insist,
            )
        except InfeasibleError:
            if not len(found.archive):
                raise  # out of reach, before anything was scored
            ended = None
    _tell(run, found, ended)
    return found.front()


class _Found:
    """What all islands found together, each candidate once, judged by the experiment's own problem.

    ``places`` has an entry per different problem of the islands: where its candidates, in their order there, stand
    in ``archive``.
    """

    def __init__(self, problem: Problem, islands: Sequence[Island]) -> None:
        self.problem = problem
        self.archive = Archive(problem.space.n_genes)
        self.reference: Floats | None = None
        different = list({id(island.problem): None for island in islands})
        self.of = [different.index(id(island.problem)) for island in islands]
        self.places: list[Rows] = [np.empty(0, dtype=np.intp) for _ in different]
        self.shares: list[list[int]] = []

    def take(self, epoch: Epoch) -> Rows:
        """Take in an epoch, and say which candidates are new."""
        before = len(self.archive)
        for problem, (common, first) in enumerate(zip(epoch.common, epoch.first_rows, strict=True)):
            rows = np.arange(first, len(common.genomes), dtype=np.intp)
            if len(rows):
                scores = common.evaluation.take(rows)
                self.archive.add(common.genomes[rows], self.problem.judge(scores.metrics, scores.errors))
                places = self.archive.rows_of(common.genomes[rows])
                self.places[problem] = np.concatenate([self.places[problem], places])
        scored = np.isfinite(self.archive.evaluation.F).all(axis=1)
        if self.reference is None and scored.any():
            self.reference = reference_point(self.archive.evaluation.F[scored])
        self.shares = [self._share(problem, rows) for problem, rows in zip(self.of, epoch.rows, strict=True)]
        return np.arange(before, len(self.archive), dtype=np.intp)

    def _share(self, problem: int, rows: Rows) -> list[int]:
        """How many candidates an island has scored, and how many of them are on the front."""
        return [len(rows), int(np.isin(self.places[problem][rows], self.archive.front).sum())]

    @property
    def hypervolume(self) -> float:
        """Share of the box up to the fixed reference point."""
        F = self.archive.evaluation.F[self.archive.front]
        return 0.0 if self.reference is None else hypervolume(F, self.reference)

    def state(self, epoch: Epoch) -> dict[str, Any]:
        """All that `restore` needs beside the candidates, and what is shown of islands."""
        return {
            "islands": epoch.state,
            "places": list(self.places),
            "reference": self.reference,
            "objectives": list(self.problem.objectives),
            "generations": epoch.generations,
            "shares": self.shares,
        }

    def restore(self, stored: StoredSearch) -> IslandsCheckpoint:
        """Take back what was stored."""
        state = stored.state
        self.archive.add(stored.genomes, self.problem.judge(stored.metrics, stored.errors))
        self.places = [np.asarray(places, dtype=np.intp) for places in state["places"]]
        self.reference, self.shares = state["reference"], state["shares"]
        common = [
            (stored.genomes[rows], {name: values[rows] for name, values in stored.metrics.items()})
            for rows in self.places
        ]
        return IslandsCheckpoint(state["islands"], common)

    def front(self) -> Front:
        """The exact front; its numbers are those of the stored candidates.

        Raises:
            InfeasibleError: there is none.
        """
        rows = self.archive.front
        if not len(rows):
            raise self.problem.explain_infeasible(self.archive.evaluation)
        metrics = self.archive.evaluation.take(rows).metrics
        return Front.of(self.problem.objectives, self.archive.genomes[rows], metrics, ids=rows)


def _islands(run: Run, problem: Problem) -> list[Island]:
    """Islands with the same wishes have the same problem, and so a joint front."""
    settings = run.spec.search
    problems: dict[str, Problem] = {}
    islands = []
    for number, one in enumerate(settings.islands.all()):
        wishes = json.dumps(one.model_dump(mode="json", include={"objectives", "constraints", "fixed"}))
        if wishes not in problems:
            problems[wishes] = _narrowed(problem, one, number)
        inherited = settings.options if one.strategy is None else {}
        options = inherited if one.options is None else one.options
        population = one.population or settings.population
        strategy = one.strategy or settings.strategy
        islands.append(Island(problems[wishes], strategy, {"population": population, **options}))
    return islands


def _narrowed(problem: Problem, one: IslandSection, number: int) -> Problem:
    if not (one.objectives or one.constraints or one.fixed):
        return problem
    space = _fixed(problem.space, one, f"search.islands.each[{number}].fixed") if one.fixed else None
    return NarrowedProblem(problem, one.objectives, list(map(parse_constraint, one.constraints)), space)


def _fixed(space: SearchSpace, one: IslandSection, place: str) -> SearchSpace:
    choices, wrong = fix_genes(space, one.fixed, place)
    if wrong:
        raise SpecError("the spec", wrong)
    try:
        return space.restrict(choices)
    except BitfrontError as error:
        raise SpecError(
            "the spec", [SpecProblem(place, shown(one.fixed), str(error), "fix it otherwise")]
        ) from error


def _keeper(run: Run, found: _Found, archive: Callable[[Scored], None]) -> Callable[[Epoch], None]:
    progress = run.progress(f"epochs of {len(found.of)} islands")

    def keep(epoch: Epoch) -> None:
        rows = found.take(epoch)
        genomes, scores = found.archive.genomes[rows], found.archive.evaluation.take(rows)
        run.store.add_generation(
            run.experiment_id,
            records.Generation(epoch.index, epoch.evaluations, found.hypervolume),
            records.CandidateBatch(genomes, scores.metrics, scores.errors),
            found.archive.genomes[found.archive.front],
            found.state(epoch),
            run.owner,
        )
        archive(Scored.of(found.problem.objectives, genomes, scores, epoch.index))
        tell_errors(run, scores.errors)
        progress(epoch.index + 1, epoch.expected_epochs)

    return keep


def _tell(run: Run, found: _Found, ended: Archipelago | None) -> None:
    for number, (scored, on_front) in enumerate(found.shares):
        own = 0 if ended is None else len(ended.fronts[number])
        more = "" if own else "; it found none that meets its own constraints"
        run.reporter.say(
            f"island {number + 1} scored {scored:,} candidates and found {on_front} of the "
            f"{len(found.archive.front)} on the front{more}"
        )
