from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bitfront.search import island_epoch
from bitfront.search.archive import first_of_equals, non_dominated
from bitfront.search.budget import InvalidBudgetError
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.island_epoch import Order, Setting, make_worker
from bitfront.search.island_values import FirstValues
from bitfront.search.islands import (
    Archipelago,
    Epoch,
    InvalidIslandsError,
    Island,
    IslandError,
    IslandsCheckpoint,
    Migration,
    search_islands,
)
from bitfront.search.measured import MeasuredProblem
from bitfront.search.narrowed import NarrowedProblem
from bitfront.search.problem import Constraint, InfeasibleError, Problem
from bitfront.search.strategies import make_strategy
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]
OPTIONS = {"population": 20}
RARELY = Migration(every=2, migrants=3)


def searched(
    islands: list[Island], seed: int = 0, executor: Executor | None = None, **more: Any
) -> tuple[Archipelago, list[Epoch]]:
    heard: list[Epoch] = []
    more = {"evaluations": 130, "migration": RARELY, **more}
    rng = np.random.default_rng(seed)
    executor = executor or EXECUTORS.get("local")()
    return search_islands(islands, executor, rng=rng, on_epoch=heard.append, **more), heard


def assert_same(one: Archipelago, other: Archipelago) -> None:
    for mine, theirs in zip((*one.fronts, *one.joint), (*other.fronts, *other.joint), strict=True):
        np.testing.assert_array_equal(mine.genomes, theirs.genomes)
        np.testing.assert_array_equal(mine.ids, theirs.ids)
        np.testing.assert_array_equal(mine.F, theirs.F)


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    return loaded


@pytest.fixture
def make_predicting(make_problem: MakeProblem) -> MakeProblem:
    """Predictions of few values that differ in their last bits with a candidate's batch, as those of networks."""

    def make(*given: Any, **more: Any) -> Problem:
        problem = make_problem(*given, **more)
        inner = problem.predict

        def predict(genomes: Genomes) -> Any:
            values = np.round(inner(genomes), 2)
            return values + 1e-8 * np.sin(100.0 * values.sum() + np.arange(len(values)))

        problem.predict = predict
        return problem

    return make


@pytest.fixture
def three(space: SearchSpace, make_predicting: MakeProblem) -> list[Island]:
    """Two islands of one problem with different strategies, and one with a tighter limit."""
    free = make_predicting(space)
    tight = make_predicting(space, constraints=(Constraint("latency_ms", "<=", 18.0),))
    return [Island(free, "nsga2", OPTIONS), Island(tight, "nsga2", OPTIONS), Island(free, "random", OPTIONS)]


def test_fronts_are_those_of_what_was_found(three: list[Island]) -> None:
    found, epochs = searched(three)
    assert len(found.fronts) == 3
    assert len(found.joint) == 2
    for front, common in zip(found.joint, epochs[-1].common, strict=True):
        rows = np.flatnonzero(common.evaluation.feasible)
        rows = rows[non_dominated(common.evaluation.F[rows])]
        rows = rows[first_of_equals(common.evaluation.F[rows])]
        assert sorted(front.ids.tolist()) == rows.tolist() == common.front.tolist()
        np.testing.assert_array_equal(front.genomes, common.genomes[front.ids])
        assert len(np.unique(common.genomes, axis=0)) == len(common.genomes)
    own = [set(map(bytes, front.genomes)) for front in found.fronts]
    assert own[1] == set(map(bytes, found.joint[1].genomes))  # it is alone with its problem
    both = np.concatenate([found.fronts[0].F, found.fronts[2].F])
    reference = reference_point(both)
    assert found.joint[0].hypervolume(reference) == pytest.approx(
        hypervolume(both[non_dominated(both)], reference), rel=1e-12
    )


def test_each_island_spends_its_budget_migrants_included(three: list[Island]) -> None:
    _, epochs = searched(three)
    rows = [np.asarray(rows) for rows in epochs[-1].state["rows"]]
    assert [len(one) for one in rows] == [130] * 3
    assert all(len(np.unique(one)) == 130 for one in rows)
    assert epochs[-1].evaluations == 390
    assert [epoch.index for epoch in epochs] == list(range(len(epochs)))
    volumes = np.array([[one.hypervolume for one in epoch.common] for epoch in epochs])
    assert (np.diff(volumes, axis=0) >= 0).all()
    assert (volumes[0] > 0).all()


def test_migrants_are_the_neighbours_front(space: SearchSpace, make_problem: MakeProblem) -> None:
    """After an epoch the next island's first new candidates are members of this one's front, in a ring."""
    islands = [Island(make_problem(space), "random", OPTIONS) for _ in range(3)]
    _, epochs = searched(islands, evaluations=90)
    first, second = epochs[0].common, epochs[1].common
    for island in range(3):
        source = (island - 1) % 3
        before = set(map(bytes, first[source].genomes[first[source].front]))
        came = second[island].genomes[len(first[island].genomes) :][:3]
        assert {bytes(genome) for genome in came} <= before
        assert len(before) > 3


def test_without_migration_an_island_is_a_search_of_its_own(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space)
    alone = Migration(every=2, migrants=0)
    found, _ = searched([Island(problem, "nsga2", OPTIONS)] * 2, migration=alone)
    single, _ = searched([Island(problem, "nsga2", OPTIONS)], migration=alone)
    np.testing.assert_array_equal(single.fronts[0].genomes, found.fronts[0].genomes)
    assert not np.array_equal(found.fronts[0].genomes, found.fronts[1].genomes)


@pytest.mark.parametrize("topology", ["ring", "random"])
def test_same_seed_same_fronts(three: list[Island], topology: Any) -> None:
    migration = Migration(every=1, migrants=4, topology=topology)
    first, _ = searched(three, seed=3, migration=migration)
    assert_same(first, searched(three, seed=3, migration=migration)[0])
    other, _ = searched(three, seed=4, migration=migration)
    assert not np.array_equal(first.joint[0].genomes, other.joint[0].genomes)


@pytest.mark.parametrize("topology", ["ring", "random"])
@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("budget", [{}, {"evaluations": None, "generations": 5}])
def test_resumed_it_ends_as_if_undisturbed(
    three: list[Island], topology: Any, kept: int, budget: dict[str, Any]
) -> None:
    migration = Migration(every=2, migrants=3, topology=topology)
    whole, epochs = searched(three, seed=5, migration=migration, **budget)
    at = epochs[kept - 1]
    assert kept < len(epochs)
    common = [(one.genomes, one.evaluation.metrics) for one in at.common]
    checkpoint = IslandsCheckpoint(through_json(at.state), common)
    found, rest = searched(three, seed=99, migration=migration, resume=checkpoint, **budget)
    assert_same(found, whole)
    for resumed, undisturbed in zip(rest, epochs[kept:], strict=True):
        assert resumed.index == undisturbed.index
        assert resumed.first_rows == undisturbed.first_rows
        assert through_json(resumed.state) == through_json(undisturbed.state)


def test_a_checkpoint_of_other_islands_is_refused(three: list[Island]) -> None:
    _, epochs = searched(three)
    common = [(one.genomes, one.evaluation.metrics) for one in epochs[0].common]
    checkpoint = IslandsCheckpoint(epochs[0].state, common)
    with pytest.raises(CorruptFileError, match="islands"):
        searched(three[:2], resume=checkpoint)
    other = [replace(three[0], options={**three[0].options, "mutations": 0.9}), *three[1:]]
    with pytest.raises(CorruptFileError, match=r"'mutations': 0\.9"):
        searched(other, resume=checkpoint)
    with pytest.raises(CorruptFileError, match="migration"):
        searched(three, resume=checkpoint, migration=Migration(every=7))
    with pytest.raises(CorruptFileError, match="hold together"):
        searched(three, resume=IslandsCheckpoint(epochs[0].state, common[::-1]))


def test_spaces_may_be_restricted_differently(space: SearchSpace, make_problem: MakeProblem) -> None:
    """Migrants are moved to the nearest candidate that the neighbour's device runs."""
    name = next(gene.name for gene in space.genes if gene.kind == "weight_format")
    restricted = space.restrict({name: ("fp32",)})
    islands = [Island(make_problem(space), "nsga2", OPTIONS), Island(make_problem(restricted), "nsga2", OPTIONS)]
    _, epochs = searched(islands)
    assert restricted.valid(epochs[-1].common[1].genomes).all()
    assert not restricted.valid(epochs[-1].common[0].genomes).all()


def test_a_small_space_is_exhausted(tiny_space: SearchSpace, make_problem: MakeProblem) -> None:
    fixed = {gene.name: (gene.choices[0],) for gene in tiny_space.genes[3:]}
    small = tiny_space.restrict(fixed)
    assert small.size() < 60
    found, epochs = searched([Island(make_problem(small), "random", OPTIONS)] * 2)
    assert len(epochs[-1].common[0].genomes) == small.size()
    assert len(found.joint[0])


def test_what_could_not_be_measured_is_in_nobodys_way(space: SearchSpace, make_problem: MakeProblem) -> None:
    inner = make_problem(space)

    def measure(genomes: Genomes) -> list[float | str]:
        values = inner.predict(genomes)
        return ["broken" if genome[2] == 0 else float(v) for genome, v in zip(genomes, values, strict=True)]

    problem = MeasuredProblem(space, inner.objectives, measure, inner.cost)
    found, epochs = searched([Island(problem, "nsga2", OPTIONS)] * 2)
    assert epochs[-1].common[0].evaluation.errors
    assert 0 < epochs[0].common[0].hypervolume < 1
    assert (found.joint[0].genomes[:, 2] != 0).all()


def test_errors(space: SearchSpace, tiny_space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space)
    with pytest.raises(InvalidIslandsError, match="no island"):
        searched([])
    with pytest.raises(InvalidBudgetError, match="evaluations is 0"):
        searched([Island(problem)], evaluations=0)
    with pytest.raises(InvalidIslandsError, match="island 2 searches 'tiny', whose genes are not those of 'test'"):
        searched([Island(problem), Island(make_problem(tiny_space))])
    with pytest.raises(InvalidIslandsError, match="every is 0"):
        Migration(every=0)
    with pytest.raises(InvalidIslandsError, match="topology is 'star'"):
        Migration(topology="star")  # type: ignore[arg-type]


def test_an_island_that_finds_nothing_feasible_takes_nothing_from_the_others(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    fine = Island(make_problem(space), "random", OPTIONS)
    impossible = Island(
        make_problem(space, constraints=(Constraint("latency_ms", "<=", 1e-6),)), "random", OPTIONS
    )
    found, _ = searched([fine, impossible])
    assert len(found.fronts[0]) == len(found.joint[0]) > 0
    assert len(found.fronts[1]) == len(found.joint[1]) == 0
    with pytest.raises(InfeasibleError, match="none of 130 candidates meets the constraints: latency_ms <= 1e-06"):
        searched([impossible])


def test_what_is_known_to_be_out_of_reach_is_refused_at_once(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    tight = make_problem(space, constraints=(Constraint("latency_ms", "<=", 1e-6),))
    tight.extreme = lambda metric, sense: (0.5, np.zeros(space.n_genes, dtype=np.uint8))
    fine = make_problem(space)
    named = r"^islands 2, 4 of 4: .*latency_ms <= 1e-06 is out of reach, the smallest latency_ms is 0\.5"
    with pytest.raises(InfeasibleError, match=named):
        searched([Island(fine), Island(tight), Island(fine), Island(tight)])
    also = make_problem(space, constraints=(Constraint("size_bytes", "<=", 3.0),))
    also.extreme = lambda metric, sense: (7.0, np.zeros(space.n_genes, dtype=np.uint8))
    with pytest.raises(InfeasibleError, match=r"^island 1 of 3: .*latency_ms.* island 3 of 3: .*size_bytes is 7"):
        searched([Island(tight), Island(fine), Island(also)])
    with pytest.raises(InfeasibleError, match=r"^no candidate meets the constraints"):
        searched([Island(tight), Island(tight)])


def test_generations_are_a_budget_of_each_island(three: list[Island]) -> None:
    reasons: list[str] = []
    found, epochs = searched(three, evaluations=None, generations=5, on_stop=reasons.append)
    assert [epoch.generations for epoch in epochs] == [2, 4, 5]
    assert [epoch.expected_epochs for epoch in epochs] == [3, 3, 3]
    came = [3 * 2, 3 * 2]  # migrants come at the beginning of the second and the third epoch
    assert all(5 * 20 <= len(rows) <= 5 * 20 + sum(came) for rows in epochs[-1].rows)
    assert epochs[-1].evaluations == sum(map(len, epochs[-1].rows))
    assert reasons == ["5 generations are done, as many as the budget has"]
    assert all(map(len, found.fronts))


def test_without_migrants_generations_are_exact(three: list[Island]) -> None:
    alone = Migration(every=3, migrants=0)
    _, epochs = searched(three, evaluations=None, generations=4, migration=alone)
    assert [len(rows) for rows in epochs[-1].rows] == [80, 80, 80]


def test_whichever_budget_is_spent_first_ends_it(three: list[Island]) -> None:
    reasons: list[str] = []
    _, epochs = searched(three, evaluations=50, generations=100, on_stop=reasons.append)
    assert [len(rows) for rows in epochs[-1].rows] == [50, 50, 50]
    assert epochs[-1].expected_epochs == len(epochs)
    assert reasons == ["150 candidates are scored: each island has spent its budget, or knows all of its space"]


class Clock:
    """Time that passes when somebody says so."""

    now = 10.0

    def monotonic(self) -> float:
        return self.now


def test_seconds_end_it_between_epochs_and_count_over_resumes(
    three: list[Island], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, heard, reasons = Clock(), list[Epoch](), list[str]()
    monkeypatch.setattr("bitfront.search.island_run.time", clock)

    def heard_of(epoch: Epoch) -> None:
        heard.append(epoch)
        clock.now += 2.0

    more: dict[str, Any] = {"evaluations": None, "seconds": 7.0, "on_stop": reasons.append, "migration": RARELY}
    local = EXECUTORS.get("local")()
    search_islands(three, local, rng=np.random.default_rng(0), on_epoch=heard_of, **more)
    assert len(heard) == 4
    assert reasons == ["8.0 seconds have passed, and the budget has 7"]
    at = heard[1]
    checkpoint = IslandsCheckpoint(
        through_json(at.state), [(one.genomes, one.evaluation.metrics) for one in at.common]
    )
    clock.now += 1000.0  # nobody was searching
    whole = heard.copy()
    heard.clear()
    search_islands(three, local, rng=np.random.default_rng(5), on_epoch=heard_of, resume=checkpoint, **more)
    # The time of the checkpoint was taken before two seconds passed.
    assert [epoch.index for epoch in heard] == [2, 3, 4]
    np.testing.assert_array_equal(heard[1].common[0].genomes, whole[3].common[0].genomes)
    assert "seconds" not in searched(three)[1][0].state


def test_stalled_islands_end_between_epochs(space: SearchSpace, make_problem: MakeProblem) -> None:
    """All networks are alike, so that nothing grows after the first epoch."""
    flat = make_problem(space, objectives=("top1",))
    flat.predict = lambda genomes: np.full(len(genomes), 0.5)
    reasons: list[str] = []
    _, epochs = searched(
        [Island(flat, "random", OPTIONS), Island(flat, "nsga2", OPTIONS)],
        evaluations=None,
        stalled=5,
        on_stop=reasons.append,
    )
    assert [epoch.generations for epoch in epochs] == [2, 4, 6, 8]
    assert [epoch.expected_epochs for epoch in epochs] == [4, 4, 4, 4]
    assert reasons == ["the front has not grown by 0.01% in 6 generations: it has stalled"]


def test_narrowed_problems_know_all_metrics_of_the_whole(space: SearchSpace, make_problem: MakeProblem) -> None:
    whole = make_problem(space, constraints=(Constraint("latency_ms", "<=", 25.0),))
    name = next(gene.name for gene in space.genes if gene.kind == "weight_format")
    restricted = space.restrict({name: ("fp32",)})
    part = NarrowedProblem(whole, ("size_bytes",), [Constraint("top1", ">=", 0.9999)], restricted)
    genomes = restricted.sample(50, np.random.default_rng(0))
    mine, theirs = part.evaluate(genomes), whole.evaluate(genomes)
    assert mine.metrics.keys() == theirs.metrics.keys() == {"top1", "latency_ms", "size_bytes"}
    np.testing.assert_array_equal(mine.F[:, 0], theirs.metrics["size_bytes"])
    np.testing.assert_array_equal(mine.feasible, theirs.feasible & (theirs.metrics["top1"] >= 0.9999))
    assert 0 < mine.feasible.sum() < theirs.feasible.sum()
    assert (part.space, part.extreme) == (restricted, None)
    whole.extreme = lambda metric, sense: None
    assert NarrowedProblem(whole).extreme is whole.extreme


def test_an_island_that_fails_is_named(space: SearchSpace, make_problem: MakeProblem) -> None:
    inner = make_problem(space)

    def predict(genomes: Genomes) -> Any:
        raise RuntimeError("no predictor")

    islands = [Island(inner, "random", OPTIONS), Island(Problem(space, ["top1"], predict, inner.cost))]
    with pytest.raises(
        IslandError, match="island 2 failed 3 times, the last time with RuntimeError: no predictor"
    ):
        searched(islands)


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "aging_evolution", "random", "sequential"])
def test_every_strategy_goes_on_as_if_it_had_been_kept(
    space: SearchSpace, make_predicting: MakeProblem, name: str
) -> None:
    """Undisturbed, strategies stay with their worker; resumed, they are made from what is stored."""
    islands = [Island(make_predicting(space), name, OPTIONS)] * 2
    whole, epochs = searched(islands, seed=2)
    at = epochs[0]
    checkpoint = IslandsCheckpoint(
        through_json(at.state), [(one.genomes, one.evaluation.metrics) for one in at.common]
    )
    found, rest = searched(islands, seed=8, resume=checkpoint)
    assert len(rest) == len(epochs) - 1 > 1
    assert_same(found, whole)
    assert through_json(rest[-1].state) == through_json(epochs[-1].state)


def test_a_worker_keeps_what_was_told_the_recorded_numbers(
    space: SearchSpace, make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strategy that has learnt from other numbers, be it in their last bits, is made anew from the recorded."""
    made: list[str] = []
    real = make_strategy

    def counted(name: str, *rest: Any) -> Any:
        made.append(name)
        return real(name, *rest)

    monkeypatch.setattr(island_epoch, "make_strategy", counted)
    settings = [Setting(make_problem(space), "nsga2", {"population": 20}, None)]
    state = make_strategy("nsga2", settings[0].problem, np.random.default_rng(0), OPTIONS).state()
    none = np.empty((0, space.n_genes), dtype=np.uint8)
    keeper, other_keeper = make_worker(settings), make_worker(settings)
    begin = Order(0, state, none, {}, none, {}, none, 2)
    first = keeper(begin)
    assert len(made) == 1
    again = Order(0, first.state, first.genomes, first.metrics, none, {}, none, 2)
    kept = keeper(again)
    assert len(made) == 1
    np.testing.assert_array_equal(kept.genomes, make_worker(settings)(again).genomes)
    recorded = {**first.metrics, "top1": first.metrics["top1"] - 1e-8 * np.arange(len(first.genomes))}
    other = Order(0, first.state, first.genomes, recorded, none, {}, none, 2)
    other_keeper(begin)
    made.clear()
    mended, anew = other_keeper(other), make_worker(settings)(other)
    assert len(made) == 2
    np.testing.assert_array_equal(mended.genomes, anew.genomes)
    np.testing.assert_array_equal(mended.front, anew.front)


def test_a_candidate_has_one_set_of_numbers_in_all_that_narrow_one_problem(
    space: SearchSpace, make_predicting: MakeProblem
) -> None:
    whole = make_predicting(space)
    narrow = NarrowedProblem(whole, ("top1", "size_bytes"), [Constraint("latency_ms", "<=", 18.0)])
    islands = [
        Island(narrow, "nsga2", OPTIONS),
        Island(whole, "nsga2", OPTIONS),
        Island(narrow, "random", OPTIONS),
    ]
    _, epochs = searched(islands)
    one, other = epochs[-1].common
    where = {bytes(genome): row for row, genome in enumerate(other.genomes)}
    both = [row for row, genome in enumerate(one.genomes) if bytes(genome) in where]
    theirs = [where[bytes(one.genomes[row])] for row in both]
    assert len(both) > 5
    for name, values in one.evaluation.metrics.items():
        np.testing.assert_array_equal(values[both], other.evaluation.metrics[name][theirs])


def test_what_failed_first_stays_failed(space: SearchSpace, make_problem: MakeProblem) -> None:
    whole = make_problem(space)
    genomes = space.sample(6, np.random.default_rng(0))
    metrics = whole.evaluate(genomes).metrics
    values = FirstValues([NarrowedProblem(whole, ("top1",)), whole, make_problem(space)])
    values.add(0, genomes[:4], {name: some[:4] for name, some in metrics.items()}, {1: "broken"})
    later = {name: some[2:] + 1.0 for name, some in metrics.items()}
    rows = values.add(1, genomes[[1, *range(3, 6)]], later, {})
    scores = values.archives[1].evaluation
    assert scores.errors == {0: "broken"}
    assert np.isnan(scores.metrics["top1"][0])
    np.testing.assert_array_equal(scores.metrics["top1"][1:], [metrics["top1"][3], *later["top1"][2:]])
    assert not values.are(1, rows, later)
    assert values.are(1, rows[2:], {name: some[2:] for name, some in later.items()})
    known, numbers, unknown = values.known(0, genomes)
    assert (len(known), len(unknown)) == (6, 0)
    np.testing.assert_array_equal(numbers["top1"][2:4], metrics["top1"][2:4])
    assert len(values.known(2, genomes)[2]) == 6  # whom nobody shares numbers with


def test_an_epoch_that_fails_is_tried_again_from_its_beginning(
    three: list[Island], space: SearchSpace, make_problem: MakeProblem
) -> None:
    whole, _ = searched(three, seed=6)
    calls = 0

    def failing(problem: Problem) -> Problem:
        predict = problem.predict

        def sometimes(genomes: Genomes) -> Any:
            nonlocal calls
            calls += 1
            if calls in (3, 9, 10):  # in the middle of an epoch, also twice in a row
                raise RuntimeError("a worker died")
            return predict(genomes)

        problem.predict = sometimes
        return problem

    for problem in {id(island.problem): island.problem for island in three}.values():
        failing(problem)
    found, _ = searched(three, seed=6)
    assert calls > 20
    assert_same(found, whole)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_finds_what_local_finds(three: list[Island]) -> None:
    pytest.importorskip("ray")
    here, _ = searched(three, seed=7)
    with EXECUTORS.get("ray")(workers=2) as executor:
        there, _ = searched(three, seed=7, executor=executor)
    assert_same(here, there)
    assert isinstance(there.joint[0], Front)
