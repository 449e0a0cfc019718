from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.search import search
from bitfront.search.archive import first_of_equals, non_dominated
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.loop import Checkpoint, Generation, InvalidBudgetError
from bitfront.search.problem import Constraint, Evaluation, InfeasibleError, Problem
from bitfront.search.strategies.base import InvalidOptionError
from bitfront.supernet.errors import CorruptFileError, NumericalError, UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


def recorded(problem: Problem, seed: int = 0, **arguments: Any) -> tuple[Front, list[Generation]]:
    generations: list[Generation] = []
    arguments = {"options": {"population": 40}, **arguments}
    front = search(problem, rng=np.random.default_rng(seed), on_generation=generations.append, **arguments)
    return front, generations


def everything(generations: list[Generation]) -> tuple[Genomes, dict[str, NDArray[np.float64]]]:
    genomes = np.concatenate([g.genomes for g in generations])
    names = generations[0].evaluation.metrics
    return genomes, {n: np.concatenate([g.evaluation.metrics[n] for g in generations]) for n in names}


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """As a store would keep it: plain text, arrays as lists."""
    loaded: dict[str, Any] = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    return loaded


def assert_same(one: Front, other: Front) -> None:
    np.testing.assert_array_equal(one.genomes, other.genomes)
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.F, other.F)


def test_the_front_is_that_of_everything_scored(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space, constraints=(Constraint("latency_ms", "<=", 20.0),))
    front, generations = recorded(problem, evaluations=500)
    genomes, metrics = everything(generations)
    evaluation = problem.judge(metrics)
    feasible = np.flatnonzero(metrics["latency_ms"] <= 20.0)
    members = feasible[non_dominated(evaluation.F[feasible])]
    members = members[first_of_equals(evaluation.F[members])]
    assert 0 < len(feasible) < len(genomes)
    assert sorted(front.ids.tolist()) == members.tolist() == generations[-1].front.tolist()
    np.testing.assert_array_equal(front.genomes, genomes[front.ids])
    np.testing.assert_array_equal(generations[-1].front_genomes, genomes[generations[-1].front])
    np.testing.assert_array_equal(front.predicted["size_bytes"], metrics["size_bytes"][front.ids])


def test_generations_tell_what_happened(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space)
    _, generations = recorded(problem, evaluations=130)
    assert [len(g.genomes) for g in generations] == [40, 40, 40, 10]
    assert [g.index for g in generations] == [0, 1, 2, 3]
    assert [g.first_row for g in generations] == [0, 40, 80, 120]
    assert [g.evaluations for g in generations] == [40, 80, 120, 130]
    reference = reference_point(generations[0].evaluation.F)
    for i, generation in enumerate(generations):
        _, metrics = everything(generations[: i + 1])
        np.testing.assert_array_equal(generation.state["reference"], reference)
        assert generation.hypervolume == hypervolume(problem.judge(metrics).F[generation.front], reference)
    volumes = [g.hypervolume for g in generations]
    assert volumes == sorted(volumes)
    assert volumes[0] > 0


def test_a_given_reference_is_used(space: SearchSpace, make_problem: MakeProblem) -> None:
    reference = np.array([1.0, 50.0, 9000.0])
    front, generations = recorded(make_problem(space), generations=2, reference=reference)
    assert generations[-1].hypervolume == pytest.approx(front.hypervolume(reference), rel=1e-12)


@pytest.mark.parametrize(("budget", "scored"), [({"generations": 3}, 120), ({"evaluations": 95}, 95)])
def test_budget(space: SearchSpace, make_problem: MakeProblem, budget: dict[str, int], scored: int) -> None:
    assert recorded(make_problem(space), **budget)[1][-1].evaluations == scored


def test_the_tighter_limit_ends_the_search(space: SearchSpace, make_problem: MakeProblem) -> None:
    assert recorded(make_problem(space), evaluations=95, generations=2)[1][-1].evaluations == 80
    assert recorded(make_problem(space), evaluations=30, generations=2)[1][-1].evaluations == 30


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bitfront.search.loop.time", clock)
    return clock


def slowed(problem: Problem, clock: Clock, seconds: float) -> Problem:
    predict = problem.predict

    def slow(genomes: Genomes) -> NDArray[np.float64]:
        clock.now += seconds
        return predict(genomes)

    problem.predict = slow
    return problem


def test_seconds_count_over_resumes_and_leave_the_best_so_far(
    space: SearchSpace, make_problem: MakeProblem, clock: Clock
) -> None:
    problem, reasons = slowed(make_problem(space), clock, 1.0), list[str]()
    whole, generations = recorded(problem, seconds=4.5, on_stop=reasons.append)
    assert len(generations) == 5
    assert reasons == ["5.0 seconds have passed, and the budget has 4.5"]
    assert_same(whole, recorded(make_problem(space), generations=5)[0])
    checkpoint = Checkpoint(through_json(generations[2].state), *everything(generations[:3]))
    clock.now += 1000.0  # nobody was searching
    front, rest = recorded(problem, seed=9, seconds=4.5, resume=checkpoint)
    assert [g.index for g in rest] == [3, 4]
    assert_same(front, whole)


def test_a_search_without_a_limit_of_seconds_has_no_time_in_its_state(
    space: SearchSpace, make_problem: MakeProblem, clock: Clock
) -> None:
    _, generations = recorded(slowed(make_problem(space), clock, 1.0), generations=2)
    assert "seconds" not in generations[-1].state


def test_what_runs_out_of_time_without_a_feasible_one_says_what_was_reached(
    space: SearchSpace, make_problem: MakeProblem, clock: Clock
) -> None:
    problem = make_problem(space, constraints=(Constraint("latency_ms", "<=", 0.5), Constraint("top1", ">=", 0.5)))
    reasons = list[str]()
    with pytest.raises(InfeasibleError, match="best value seen"):
        recorded(slowed(problem, clock, 1.0), seconds=2.0, on_stop=reasons.append)
    assert reasons == ["2.0 seconds have passed, and the budget has 2"]


def test_a_front_that_does_not_grow_ends_the_search(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem, reasons = make_problem(space, ("size_bytes",)), list[str]()
    _, generations = recorded(problem, stalled=4, generations=500, on_stop=reasons.append)
    volumes = [g.hypervolume for g in generations]
    assert len(generations) < 500
    assert volumes[-1] <= volumes[-5] * 1.0001
    assert "4 generations" in reasons[0]
    assert generations[-1].expected_generations == len(generations)
    checkpoint = Checkpoint(through_json(generations[-3].state), *everything(generations[:-2]))
    _, rest = recorded(problem, seed=1, stalled=4, resume=checkpoint)
    assert [g.index for g in rest] == [g.index for g in generations[-2:]]


def test_an_exhausted_space_is_the_reason(space: SearchSpace, make_problem: MakeProblem) -> None:
    tiny = space.restrict({gene.name: [gene.choices[0]] for gene in space.genes if gene.name != "resolution"})
    reasons = list[str]()
    recorded(make_problem(tiny), stalled=100, on_stop=reasons.append)
    assert reasons == ["3 candidates are scored, and the strategy finds no other one in this space"]


@pytest.mark.parametrize("kept", [1, 3])
def test_a_resumed_search_ends_as_if_undisturbed(space: SearchSpace, make_problem: MakeProblem, kept: int) -> None:
    problem = make_problem(space)
    whole, generations = recorded(problem, seed=5, evaluations=230)
    genomes, metrics = everything(generations[:kept])
    checkpoint = Checkpoint(through_json(generations[kept - 1].state), genomes, metrics)
    front, rest = recorded(problem, seed=999, evaluations=230, resume=checkpoint)
    assert_same(front, whole)
    for resumed, undisturbed in zip(rest, generations[kept:], strict=True):
        np.testing.assert_array_equal(resumed.genomes, undisturbed.genomes)
        assert resumed.hypervolume == undisturbed.hypervolume
        assert (resumed.index, resumed.first_row) == (undisturbed.index, undisturbed.first_row)
        assert through_json(resumed.state) == through_json(undisturbed.state)


def test_a_finished_search_can_be_resumed_and_prolonged(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space)
    front, generations = recorded(problem, generations=3)
    checkpoint = Checkpoint(generations[-1].state, *everything(generations))
    again, none = recorded(problem, generations=3, resume=checkpoint)
    assert_same(again, front)
    assert none == []
    longer, more = recorded(problem, generations=5, resume=checkpoint)
    assert [g.index for g in more] == [3, 4]
    assert_same(longer, recorded(problem, generations=5)[0])


class TestAWrongCheckpoint:
    @pytest.fixture
    def checkpoint(self, space: SearchSpace, make_problem: MakeProblem) -> Checkpoint:
        _, generations = recorded(make_problem(space), generations=2)
        return Checkpoint(generations[-1].state, *everything(generations))

    def resume(self, problem: Problem, checkpoint: Checkpoint, **arguments: Any) -> None:
        search(problem, rng=np.random.default_rng(0), generations=3, resume=checkpoint, **arguments)

    def test_of_another_search_is_refused(
        self, space: SearchSpace, make_problem: MakeProblem, checkpoint: Checkpoint
    ) -> None:
        with pytest.raises(CorruptFileError, match="strategy is 'nsga2', but this search's is 'random'"):
            self.resume(make_problem(space), checkpoint, strategy="random")
        with pytest.raises(CorruptFileError, match="checkpoint's objectives"):
            self.resume(make_problem(space, ("top1", "latency_ms")), checkpoint)
        with pytest.raises(
            CorruptFileError, match=r"checkpoint's constraints is \[\], but this search's is \['macs"
        ):
            self.resume(make_problem(space, constraints=(Constraint("macs", "<=", 3.0),)), checkpoint)

    def test_without_its_candidates_is_refused(
        self, space: SearchSpace, make_problem: MakeProblem, checkpoint: Checkpoint
    ) -> None:
        metrics = {name: values[:-1] for name, values in checkpoint.metrics.items()}
        short = Checkpoint(checkpoint.state, checkpoint.genomes[:-1], metrics)
        with pytest.raises(CorruptFileError, match="speaks of 80 candidates, but 79 came"):
            self.resume(make_problem(space), short)

    @pytest.mark.parametrize("missing", ["reference", "strategy_state", "generations", "evaluations"])
    def test_that_is_torn_is_refused(
        self, space: SearchSpace, make_problem: MakeProblem, checkpoint: Checkpoint, missing: str
    ) -> None:
        state = {name: value for name, value in checkpoint.state.items() if name != missing}
        with pytest.raises(CorruptFileError, match=missing):
            self.resume(make_problem(space), Checkpoint(state, checkpoint.genomes, checkpoint.metrics))

    def test_of_another_generator_is_refused(
        self, space: SearchSpace, make_problem: MakeProblem, checkpoint: Checkpoint
    ) -> None:
        with pytest.raises(CorruptFileError, match="does not fit a MT19937 generator"):
            search(
                make_problem(space),
                rng=np.random.Generator(np.random.MT19937(0)),
                generations=3,
                options={"population": 40},
                resume=checkpoint,
            )


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_kind_of_generator_survives_a_store(
    space: SearchSpace, make_problem: MakeProblem, kind: Callable[[int], np.random.BitGenerator]
) -> None:
    problem = make_problem(space)
    kept: list[Generation] = []
    whole = search(problem, rng=np.random.Generator(kind(1)), evaluations=300, on_generation=kept.append)
    checkpoint = Checkpoint(through_json(kept[0].state), *everything(kept[:1]))
    assert_same(search(problem, rng=np.random.Generator(kind(2)), evaluations=300, resume=checkpoint), whole)


def test_an_exhausted_space_ends_the_search(space: SearchSpace, make_problem: MakeProblem) -> None:
    free = {"resolution", "stage0.block0.kernel", "stage0.block0.width"}
    tiny = space.restrict({gene.name: [gene.choices[0]] for gene in space.genes if gene.name not in free})
    _, generations = recorded(make_problem(tiny), evaluations=10_000)
    assert generations[-1].evaluations == tiny.size() == 45


def test_an_infeasible_problem_is_answered_with_what_was_reached(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem = make_problem(space, constraints=(Constraint("latency_ms", "<=", 0.5), Constraint("top1", ">=", 0.5)))
    generations: list[Generation] = []
    with pytest.raises(InfeasibleError) as caught:
        search(problem, rng=np.random.default_rng(0), evaluations=300, on_generation=generations.append)
    _, metrics = everything(generations)
    smallest = metrics["latency_ms"].min()
    assert f"latency_ms <= 0.5 (never met, best value seen {smallest:.6g})" in str(caught.value)
    assert "none of 300 candidates" in str(caught.value)
    assert generations[-1].hypervolume == 0.0
    assert len(generations[-1].front) == 0
    first = generations[0].evaluation.metrics["latency_ms"]
    assert smallest < first.min(), "constraint domination leads towards the feasible side"


def test_what_goes_wrong_in_scoring_or_storing_ends_the_search(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem = make_problem(space)
    predict = problem.predict
    problem.predict = lambda genomes: np.where(np.arange(len(genomes)) == 7, np.nan, predict(genomes))
    with pytest.raises(NumericalError, match="top1 of candidate 7 is nan"):
        search(problem, rng=np.random.default_rng(0), evaluations=100)

    def full_disk(generation: Generation) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        search(make_problem(space), rng=np.random.default_rng(0), evaluations=100, on_generation=full_disk)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidBudgetError, "give one or more of evaluations, generations, seconds, stalled"),
        ({"evaluations": 0}, InvalidBudgetError, "budget of evaluations is 0"),
        ({"generations": -1}, InvalidBudgetError, "budget of generations is -1"),
        ({"evaluations": 9, "strategy": "nsag2"}, UnknownNameError, "did you mean 'nsga2'"),
        ({"evaluations": 9, "options": {"popsize": 9}}, UnknownNameError, "did you mean 'population'"),
        ({"evaluations": 9, "options": {"population": 0}}, InvalidOptionError, "population is 0"),
        ({"evaluations": 9, "options": {"mutations": 0.0}}, InvalidOptionError, "mutations is 0"),
        ({"evaluations": 9, "options": {"crossover_rate": 1.5}}, InvalidOptionError, "crossover_rate is 1.5"),
        (
            {"evaluations": 9, "strategy": "random", "options": {"uniform_over": "all"}},
            InvalidOptionError,
            "choose 'genes' or 'points'",
        ),
    ],
)
def test_bad_settings_are_named(
    space: SearchSpace,
    make_problem: MakeProblem,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        search(make_problem(space), rng=np.random.default_rng(0), **arguments)


def test_scores_of_another_length_are_refused(space: SearchSpace, make_problem: MakeProblem) -> None:
    from bitfront.search.strategies import make_strategy

    strategy = make_strategy("random", make_problem(space), np.random.default_rng(0), {})
    with pytest.raises(ValueError, match="100 genomes came with 0 scores"):
        strategy.tell(strategy.ask(), Evaluation(np.empty((0, 3)), np.empty((0, 0)), {}))
