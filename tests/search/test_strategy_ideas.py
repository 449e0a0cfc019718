"""What makes each strategy what it is, beside what all of them must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.dataset import Pairs
from bitfront.predictors.surrogate import Surrogate
from bitfront.search.constraints import Floats
from bitfront.search.hypervolume import hypervolume
from bitfront.search.problem import Evaluation, Problem
from bitfront.search.seeders import uniform_policies
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.aging_evolution import AgingEvolution, _losses
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.search.strategies.belief import Belief, as_fraction, from_fraction, worthwhile
from bitfront.search.strategies.iterated import Iterated
from bitfront.search.strategies.nsga3 import Nsga3, directions
from bitfront.search.strategies.sequential import Sequential
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


def advance(strategy: Strategy, turns: int) -> None:
    for _ in range(turns):
        genomes = strategy.ask()
        strategy.tell(genomes, strategy.problem.evaluate(genomes))


class TestSequential:
    def test_each_phase_has_a_third_and_keeps_to_its_genes(
        self, space: SearchSpace, make_problem: MakeProblem
    ) -> None:
        strategy = Sequential(make_problem(space), np.random.default_rng(0), population=20, carried=3)
        strategy.plan(180)
        advance(strategy, 9)
        genomes = strategy.archive.genomes.reshape(3, 60, -1)
        kinds = np.array([gene.kind for gene in space.genes])
        largest = space.extremes()[1]
        held = ~np.isin(kinds, ["depth", "kernel", "resolution"])
        active = space.active(genomes[0])
        assert (genomes[0] == largest)[active & held].all()
        for before, after, free in (
            (genomes[0], genomes[1], ["width"]),
            (genomes[:2].reshape(120, -1), genomes[2], ["weight_format", "activation_format"]),
        ):
            parts = np.unique(after[:, ~np.isin(kinds, free)], axis=0)
            assert 1 < len(parts) <= 3
            assert {part.tobytes() for part in parts} <= {
                row.tobytes() for row in before[:, ~np.isin(kinds, free)]
            }

    def test_a_given_format_is_that_of_the_first_phases(
        self, space: SearchSpace, make_problem: MakeProblem
    ) -> None:
        strategy = Sequential(make_problem(space), np.random.default_rng(0), population=10, format="int4")
        formats = {layer.weight_format for genome in strategy.ask() for layer in space.layers(genome)}
        assert formats == {"int4", "fp32"}, "the ends have no int4"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"evaluations": 2}, "evaluations is 2: it must be at least 3"),
            ({"carried": 0}, "carried is 0"),
            ({"format": "int5"}, "format is 'int5', which no layer has: choose one of fp32"),
            ({"mutations": 0.0}, "mutations is 0"),
            ({"crossover_rate": 2.0}, "crossover_rate is 2"),
        ],
    )
    def test_refuses(
        self, space: SearchSpace, make_problem: MakeProblem, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            make_strategy("sequential", make_problem(space), np.random.default_rng(0), options)


class TestAgingEvolution:
    def test_the_oldest_have_no_children(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        strategy = AgingEvolution(
            make_problem(space, ("size_bytes",)), np.random.default_rng(0), population=10, alive=10
        )
        smallest = space.extremes()[:1]
        strategy.tell(smallest, strategy.problem.evaluate(smallest))
        advance(strategy, 3)
        assert (strategy._parents(200) < 10).all()
        assert len(strategy.archive) == 31

    def test_a_tournament_of_all_is_won_by_the_best(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        problem = make_problem(space, ("size_bytes",))
        strategy = AgingEvolution(problem, np.random.default_rng(0), population=30, alive=30, tournament=400)
        advance(strategy, 1)
        assert set(strategy._parents(20).tolist()) == {int(np.argmin(strategy.archive.evaluation.F))}

    def test_losses_obey_constraint_domination(self) -> None:
        F = np.array([[1.0, 5.0], [2.0, 4.0], [0.0, 0.0], [np.inf, np.inf], [0.0, 0.0]])
        G = np.array([[-1.0], [0.0], [0.5], [np.inf], [0.2]])
        scores = Evaluation(F, G, {}, {3: "broken"})
        drawn = np.arange(5)[None]
        order = _losses(scores, drawn, np.array([[0.9, 0.1]])).argsort(axis=1)[0]
        assert order.tolist() == [0, 1, 4, 2, 3]

    @pytest.mark.parametrize("option", ["alive", "tournament"])
    def test_refuses(self, space: SearchSpace, make_problem: MakeProblem, option: str) -> None:
        with pytest.raises(InvalidOptionError, match=f"{option} is 0"):
            make_strategy("aging_evolution", make_problem(space), np.random.default_rng(0), {option: 0})


class TestNsga3:
    @given(m=st.integers(1, 10), most=st.integers(1, 200))
    def test_directions_lie_on_the_simplex_and_are_no_more_than_asked_for(self, m: int, most: int) -> None:
        found = directions(m, most)
        assert len(found) <= max(most, m)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        assert len(np.unique(found.round(9), axis=0)) == len(found)

    def test_each_direction_of_a_flat_front_is_served(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        strategy = Nsga3(make_problem(space), np.random.default_rng(0), population=10)
        grid = directions(3, 10)
        crowd = np.random.default_rng(1).dirichlet(np.full(3, 50.0), size=90)
        F = np.concatenate([crowd, grid])
        served = strategy._nearest(F)
        assert len(served) == 10 == len(grid)
        assert {90, 90 + len(grid) - 1} <= set(served.tolist()), "the ends survive the crowd in the middle"
        assert (served >= 90).sum() >= 9

    @pytest.mark.parametrize("options", [{"mutations": 0.0}, {"crossover_rate": -0.1}])
    def test_refuses(self, space: SearchSpace, make_problem: MakeProblem, options: dict[str, float]) -> None:
        with pytest.raises(InvalidOptionError, match=next(iter(options))):
            make_strategy("nsga3", make_problem(space), np.random.default_rng(0), options)


class TestIterated:
    def test_never_measures_by_itself(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        problem, asked = make_problem(space, ("top1", "latency_ms")), list[int]()
        predict = problem.predict

        def listening(genomes: Genomes) -> Floats:
            asked.append(len(genomes))
            return predict(genomes)

        problem.predict = listening
        advance(Iterated(problem, np.random.default_rng(0), population=10, first=20, inner_generations=3), 4)
        assert asked == [10] * 4

    def test_it_begins_with_the_same_seeds_as_nsga2(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        problem, n = make_problem(space), len(np.unique(uniform_policies(space), axis=0))

        def first(name: str, seeds: str) -> Genomes:
            options = {"population": 30, "seeds": seeds}
            return make_strategy(name, problem, np.random.default_rng(0), options).ask()[:n]

        np.testing.assert_array_equal(first("iterated", "uniform"), first("nsga2", "uniform"))
        assert not np.array_equal(first("iterated", "none"), first("iterated", "uniform"))

    def test_a_perfect_prior_is_believed(self, space: SearchSpace, make_problem: MakeProblem) -> None:
        problem = make_problem(space, ("top1", "latency_ms"))
        strategy = Iterated(problem, np.random.default_rng(0), first=12, prior=problem.predict)
        known, others = space.sample(12, np.random.default_rng(1)), space.sample(9, np.random.default_rng(2))
        surrogate = strategy._fitted(known, problem.evaluate(known))
        assert surrogate is not None
        belief = Belief(problem, surrogate, 0.5, problem.predict)
        said = belief.upper(others, surrogate.outlook(others))
        np.testing.assert_allclose(said, problem.predict(others), atol=1e-9)

    @pytest.mark.parametrize("option", ["first", "exploration", "inner_population", "inner_generations"])
    def test_refuses(self, space: SearchSpace, make_problem: MakeProblem, option: str) -> None:
        with pytest.raises(InvalidOptionError, match=f"{option} is -1"):
            make_strategy("iterated", make_problem(space), np.random.default_rng(0), {option: -1})


@pytest.mark.parametrize("exploration", [0.0, 1.0])
def test_lazy_choice_is_the_greedy_one(space: SearchSpace, make_problem: MakeProblem, exploration: float) -> None:
    """Worked out without short cuts: every gain anew for every choice."""
    problem, rng = make_problem(space, ("top1", "latency_ms")), np.random.default_rng(0)
    known, candidates = space.sample(30, rng), space.sample(25, rng)
    surrogate = Surrogate.fit(space, Pairs(known, problem.predict(known)), policy=True)
    belief = Belief(problem, surrogate, exploration, None)
    front, reference = problem.evaluate(known[:5]).F, np.array([1.1, 80.0])
    chosen = worthwhile(belief, candidates, front, reference, 6)

    outlook, latency = surrogate.outlook(candidates), problem.cost(candidates)["latency_ms"]
    expected: list[int] = []
    for _ in range(6):
        upper = np.stack([1 - belief.upper(candidates, outlook), latency], axis=1)
        gains = np.array([hypervolume(np.vstack([front, row]), reference) for row in upper])
        gains -= hypervolume(front, reference)
        gains[expected] = -np.inf
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        expected.append(best)
        front = np.vstack([front, [1 - belief.mean(candidates, outlook)[best], latency[best]]])
        outlook.measure(best)
    assert len(expected) >= 3
    assert chosen[: len(expected)].tolist() == expected
    assert len(set(chosen.tolist())) == 6


@given(st.floats(-1, 1))
def test_fractions_stand_for_differences(value: float) -> None:
    assert from_fraction(as_fraction(np.array([value])))[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "cmaes"}, "sampler is 'cmaes': choose one of tpe, nsga2"),
        ({"sampler": "nsga2", "population": 1}, "needs at least 2"),
        ({"startup": 0}, "startup is 0"),
    ],
)
def test_optuna_refuses(
    space: SearchSpace, make_problem: MakeProblem, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        make_strategy("optuna", make_problem(space), np.random.default_rng(0), options)
