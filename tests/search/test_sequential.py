"""The baseline's phases: what each may change, what it starts from, and how the budget is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from bitfront.search.archive import non_dominated
from bitfront.search.problem import Constraint, Problem
from bitfront.search.strategies.base import InvalidOptionError
from bitfront.search.strategies.sequential import PHASES, Sequential
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


def made(problem: Problem, **options: Any) -> Sequential:
    return Sequential(problem, np.random.default_rng(0), **{"population": 20, **options})


def turns(strategy: Sequential, scored: int) -> Iterator[tuple[str, Genomes]]:
    """Phase and genomes of each ask, until so many are scored."""
    while len(strategy.archive) < scored:
        genomes = strategy.ask(scored - len(strategy.archive))
        yield strategy.phase, genomes
        strategy.tell(genomes, strategy.problem.evaluate(genomes))


def columns(space: SearchSpace, *phases: str) -> list[int]:
    kinds = [kind for name, chosen in PHASES if name in phases for kind in chosen]
    return [place for place, gene in enumerate(space.genes) if gene.kind in kinds]


def counted(strategy: Sequential, scored: int) -> dict[str, int]:
    found = dict.fromkeys([*(name for name, _ in PHASES), "rest"], 0)
    for phase, genomes in turns(strategy, scored):
        found[phase] += len(genomes)
    return found


def test_each_phase_has_a_third_of_the_budget(space: SearchSpace, make_problem: MakeProblem) -> None:
    strategy = made(make_problem(space), format="int8")
    strategy.plan(300)
    found = counted(strategy, 300)
    assert found["rest"] == 0
    assert 0 < found["architecture"] <= 100
    assert found["pruning"] == (300 - found["architecture"]) // 2, "what a phase leaves goes to those after it"
    assert sum(found.values()) == 300


def test_a_given_number_of_evaluations_stands_before_the_budget(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    strategy = made(make_problem(space), evaluations=90)
    strategy.plan(3000)
    assert counted(strategy, 90)["bits"] >= 30


def test_each_phase_changes_its_own_genes_only(space: SearchSpace, make_problem: MakeProblem) -> None:
    strategy = made(make_problem(space), format="int8")
    strategy.plan(240)
    begun: dict[str, Genomes] = {}
    for phase, genomes in turns(strategy, 240):
        starts = begun.setdefault(phase, strategy._kept)
        own = columns(space, phase)
        for genome in genomes:
            # A start with the phase's own genes of the candidate must be the candidate: nothing else differs.
            moved = starts.copy()
            moved[:, own] = genome[own]
            assert (space.canonical(moved) == genome).all(axis=1).any()
    assert set(begun) == {name for name, _ in PHASES}


def test_only_the_front_is_handed_over(space: SearchSpace, make_problem: MakeProblem) -> None:
    """What lies far apart otherwise are the worst ones, and the baseline would be weaker than it is."""
    problem = make_problem(space)
    strategy = made(problem, carried=4)
    strategy.plan(180)
    phase = strategy.phase
    for now, _ in turns(strategy, 180):
        if now != phase:
            phase = now
            scored = strategy.archive.evaluation.F[: strategy._started]
            kept = problem.evaluate(strategy._kept).F
            begun = [(scored == one).all(axis=1).any() for one in kept]
            assert all(begun)
            assert 1 <= len(kept) <= 4
            assert non_dominated(kept).all()


def test_what_is_handed_over_meets_the_constraints_where_anything_does(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem = make_problem(space, constraints=(Constraint("latency_ms", "<=", 20.0),))
    strategy = made(problem)
    strategy.plan(240)
    list(turns(strategy, 240))
    feasible = strategy.archive.evaluation.feasible[: strategy._started]
    assert feasible.any()
    assert problem.evaluate(strategy._kept).feasible.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluations": 2}, "evaluations is 2"),
        ({"carried": 0}, "carried is 0"),
        ({"format": "int77"}, "int77"),
        ({"crossover_rate": 1.5}, "crossover_rate is 1.5"),
        ({"mutations": 0.0}, "mutations is 0.0"),
    ],
)
def test_bad_options_are_named(
    space: SearchSpace, make_problem: MakeProblem, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        made(make_problem(space), **options)


@pytest.mark.parametrize("phase", [1, 2])
def test_blocks_that_a_child_forgets_stay_as_its_mother_has_them(
    space: SearchSpace, make_problem: MakeProblem, phase: int
) -> None:
    """A shallower father makes the child skip blocks; the mother's depth, which stays, brings them back."""
    strategy = made(make_problem(space), format="int8")
    strategy._phase = phase
    rng = np.random.default_rng(0)
    mothers = space.sample(200, rng)
    depths = [place for place, gene in enumerate(space.genes) if gene.name.endswith("depth")]
    shallow = mothers.copy()
    shallow[:, depths] = 0
    children = space.canonical(shallow)
    assert (space.active(children) < space.active(mothers)).any()
    np.testing.assert_array_equal(strategy._held(mothers, children), mothers)
