"""Stage 5: the joint search, stored generation by generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.run import Run
from bitfront.experiments.stages.island_search import islands_front
from bitfront.experiments.stages.measuring import measure_in_search
from bitfront.experiments.stages.search_records import archived, stored_search, tell_errors
from bitfront.experiments.store import records
from bitfront.latency_lut.cost_model import CostModel
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.search.constraints import parse_constraint
from bitfront.search.devices import Cost, ExactExtreme, combined_cost
from bitfront.search.front import Front
from bitfront.search.loop import Checkpoint, Generation, search
from bitfront.search.measured import MeasuredProblem
from bitfront.search.problem import Problem
from bitfront.search.scored import Scored
from bitfront.search.shared_architecture import SharedArchitecture, SharedExtreme, SharedProblem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

Models = Mapping[str, CostModel]


def predicting(run: Run, space: SearchSpace, predictor: AccuracyPredictor, costs: Models) -> Problem:
    """What is searched for, with accuracy as the predictor says; ``costs`` by the devices' names in the spec."""
    constraints = [parse_constraint(text) for text in run.spec.constraints]

    def predict(genomes: Genomes) -> NDArray[np.float64]:
        return np.clip(predictor.predict(genomes).mean, 0.0, 1.0)

    if isinstance(space, SharedArchitecture):
        by_device, extreme = {name: model.cost for name, model in costs.items()}, SharedExtreme(costs, space)
        return SharedProblem(space, run.spec.objectives, predict, by_device, constraints, extreme)
    return Problem(space, run.spec.objectives, predict, _combined(costs), constraints, ExactExtreme(costs, space))


def measuring(run: Run, space: SearchSpace, supernet_id: str, supernet: Supernet, costs: Models) -> Problem:
    """What is searched for, with accuracy as it is measured on the validation split."""
    constraints = [parse_constraint(text) for text in run.spec.constraints]
    known = run.store.trials(supernet_id, "validation").lookup()
    measure = measure_in_search(run, supernet_id, supernet)
    cost, extreme = _combined(costs), ExactExtreme(costs, space)
    return MeasuredProblem(space, run.spec.objectives, measure, cost, constraints, known, extreme)


def _combined(costs: Models) -> Cost:
    return combined_cost({name: model.cost for name, model in costs.items()})


def searched_front(run: Run, problem: Problem) -> Front:
    """The front of what is searched for; goes on from the last stored generation.

    Raises:
        InfeasibleError: no candidate meets the constraints.
        NothingMeasuredError: accuracy is measured, and no candidate can be.
        IslandError: the spec asks for islands, and the search of one failed every attempt.
    """
    settings = run.spec.search
    if settings.islands.wanted:
        return islands_front(run, problem)
    stored = stored_search(run, problem)
    with archived(run, problem, stored) as archive:
        return search(
            problem,
            settings.strategy,
            rng=run.rng("search"),
            evaluations=settings.evaluations,
            generations=settings.generations,
            seconds=settings.seconds,
            stalled=settings.stalled,
            insist=settings.insist,
            options={"population": settings.population, **settings.options},
            on_generation=_keeper(run, problem, archive),
            on_stop=lambda reason: run.reporter.say(f"the search ends: {reason}"),
            resume=None if stored is None else Checkpoint(stored.state, stored.genomes, stored.metrics),
        )


def _keeper(run: Run, problem: Problem, archive: Callable[[Scored], None]) -> Callable[[Generation], None]:
    progress = run.progress("generations")

    def keep(generation: Generation) -> None:
        evaluation = generation.evaluation
        run.store.add_generation(
            run.experiment_id,
            records.Generation(generation.index, generation.evaluations, generation.hypervolume),
            records.CandidateBatch(generation.genomes, evaluation.metrics, evaluation.errors),
            generation.front_genomes,
            generation.state,
            run.owner,
        )
        # After the store: what it lacks after a kill, the archive must not have.
        archive(Scored.of(problem.objectives, generation.genomes, evaluation, generation.index))
        tell_errors(run, evaluation.errors)
        progress(generation.index + 1, generation.expected_generations)

    return keep
