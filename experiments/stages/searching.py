"""Stage 5: the joint search, stored generation by generation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitfront.experiments.run import Run
from bitfront.experiments.store import records
from bitfront.experiments.store.base import MOST_PER_PAGE
from bitfront.latency_lut.cost_model import CostModel
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.search.constraints import parse_constraint
from bitfront.search.devices import exact_extreme
from bitfront.search.front import Front
from bitfront.search.loop import Checkpoint, Generation, search
from bitfront.search.problem import Problem
from bitfront.supernet.space import SearchSpace


def searched_front(run: Run, space: SearchSpace, predictor: AccuracyPredictor, costs: CostModel) -> Front:
    """The predicted front; goes on from the last stored generation.

    Raises:
        InfeasibleError: no candidate meets the constraints.
    """
    problem = Problem(
        space,
        run.spec.objectives,
        lambda genomes: np.clip(predictor.predict(genomes).mean, 0.0, 1.0),
        costs.cost,
        [parse_constraint(text) for text in run.spec.constraints],
        exact_extreme({costs.device: costs}, space),
    )
    settings = run.spec.search
    return search(
        problem,
        settings.strategy,
        rng=run.rng("search"),
        evaluations=settings.evaluations,
        generations=settings.generations,
        seconds=settings.seconds,
        stalled=settings.stalled,
        options={"population": settings.population, **settings.options},
        on_generation=_keeper(run),
        on_stop=lambda reason: run.reporter.say(f"the search ends: {reason}"),
        resume=_checkpoint(run, space.n_genes),
    )


def _keeper(run: Run) -> Callable[[Generation], None]:
    progress = run.progress("generations")

    def keep(generation: Generation) -> None:
        run.store.add_generation(
            run.experiment_id,
            records.Generation(generation.index, generation.evaluations, generation.hypervolume),
            records.CandidateBatch(generation.genomes, generation.evaluation.metrics),
            generation.front_genomes,
            generation.state,
        )
        progress(generation.index + 1, generation.expected_generations)

    return keep


def _checkpoint(run: Run, n_genes: int) -> Checkpoint | None:
    last = run.store.last_generation(run.experiment_id)
    if last is None:
        return None
    stored = _stored(run, n_genes)
    run.reporter.say(f"the search goes on after generation {last[0].index + 1}")
    return Checkpoint(last[1], stored.genomes, dict(stored.predicted))


def _stored(run: Run, n_genes: int) -> records.CandidateBatch:
    """All stored candidates in the order in which they were scored."""
    rows: list[records.Candidate] = []
    cursor: str | None = None
    while True:
        page = run.store.candidates(run.experiment_id, cursor, MOST_PER_PAGE)
        rows.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    genomes = np.stack([row.array for row in rows]) if rows else np.empty((0, n_genes), dtype=np.uint8)
    names = rows[0].predicted if rows else {}
    return records.CandidateBatch(
        genomes, {name: np.array([row.predicted[name] for row in rows], dtype=np.float64) for name in names}
    )
