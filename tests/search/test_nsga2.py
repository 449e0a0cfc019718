from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.search import search
from bitfront.search.archive import Archive, non_dominated
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.problem import Problem
from bitfront.search.seeders import SEEDERS, uniform_policies
from bitfront.search.strategies import make_strategy
from bitfront.search.strategies.nsga2 import survivors
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.genes import Choice, Gene, Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]

_FREE = {
    "resolution",
    "stage0.depth",
    "stage0.block0.kernel",
    "stage0.block0.width",
    "stage0.block1.kernel",
    "stage0.block1.width",
    "stage1.block0.width",
    "stage1.block0.pointwise.weight_format",
    "stage1.block0.depthwise.weight_format",
}


def ranks(F: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fronts peeled off one by one, by the definition."""
    rank, left = np.full(len(F), -1), np.arange(len(F))
    for number in range(len(F)):
        best = [i for i in left if not any((F[j] <= F[i]).all() and (F[j] < F[i]).any() for j in left if j != i)]
        rank[best] = number
        left = np.setdiff1d(left, best)
    return rank


@given(
    n=st.integers(1, 25),
    m=st.integers(1, 3),
    k=st.integers(1, 30),
    seed=st.integers(0, 999),
    share=st.floats(0, 1),
)
def test_survivors_obey_constraint_domination(n: int, m: int, k: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    F = rng.integers(0, 5, size=(n, m)).astype(float)
    violation = np.where(rng.random(n) < share, rng.integers(1, 4, size=n), 0).astype(float)
    chosen = survivors(F, violation, k)
    assert len(chosen) == min(k, n) == len(set(chosen.tolist()))
    feasible = np.flatnonzero(violation == 0)
    fitness = np.empty((n, 2))
    fitness[:, 0] = violation
    fitness[:, 1] = 0
    fitness[feasible, 1] = ranks(F[feasible])
    order = [tuple(row) for row in fitness[chosen]]
    assert order == sorted(order)
    lost = np.setdiff1d(np.arange(n), chosen)
    assert all(tuple(fitness[i]) >= order[-1] for i in lost)


def test_the_crowded_go_first() -> None:
    x = np.array([0.0, 0.1, 0.12, 0.5, 1.0])
    assert set(survivors(np.stack([x, 1 - x], axis=1), np.zeros(5), 3).tolist()) == {0, 3, 4}


def test_uniform_policies_hold_each_corner_in_each_format(space: SearchSpace) -> None:
    seeds = uniform_policies(space)
    np.testing.assert_array_equal(space.check(seeds), seeds)
    assert len(seeds) == 2 * (1 + 4)
    for genome in seeds:
        formats = {layer.weight_format for layer in space.layers(genome) if layer.op == "depthwise"}
        assert len(formats) == 1
    assert {space.layers(genome)[1].weight_format for genome in seeds} == {"fp32", "int8", "int6", "int4"}
    only_int8 = space.restrict_formats(lambda op: [("int8", "int8")])
    np.testing.assert_array_equal(only_int8.check(uniform_policies(only_int8)), uniform_policies(only_int8))


def test_seeds_are_looked_up_by_name_and_come_first(space: SearchSpace, make_problem: MakeProblem) -> None:
    problem = make_problem(space)
    asked = {
        name: make_strategy("nsga2", problem, np.random.default_rng(0), {"seeds": name, "population": 30}).ask()
        for name in ("uniform", "none")
    }
    corners = uniform_policies(space)
    corners = corners[Archive(space.n_genes).fresh(corners)]
    np.testing.assert_array_equal(asked["uniform"][: len(corners)], corners)
    assert {len(one) for one in asked.values()} == {30}
    assert {"none", "uniform"} <= set(SEEDERS.names())
    with pytest.raises(UnknownNameError, match="seeder"):
        make_strategy("nsga2", problem, np.random.default_rng(0), {"seeds": "lucky"})


def test_ways_that_pay_are_taken_more_often_and_are_remembered(
    space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem = make_problem(space)
    strategy = make_strategy("nsga2", problem, np.random.default_rng(0), {"population": 40})
    for _ in range(6):
        genomes = strategy.ask()
        strategy.tell(genomes, problem.evaluate(genomes))
    counts = np.concatenate([np.asarray(c)[1] / np.asarray(c)[0] for c in strategy.state()["memory"]["credits"]])
    assert np.ptp(counts) > 0.01
    genomes = strategy.ask()
    half = strategy.state()
    strategy.tell(genomes[::3], problem.evaluate(genomes[::3]))  # the others are lost
    other = make_strategy("nsga2", problem, np.random.default_rng(9), {"population": 40})
    told = len(strategy.archive) - len(genomes[::3])
    known = strategy.archive.genomes[:told]
    other.restore(half, known, problem.evaluate(known))
    other.tell(genomes[::3], problem.evaluate(genomes[::3]))
    for mine, its in zip(strategy.state()["memory"]["credits"], other.state()["memory"]["credits"], strict=True):
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(strategy.ask(), other.ask())


def middle(gene: Gene) -> Choice:
    return gene.choices[-1 if gene.kind == "depth" else len(gene.choices) // 2]


def every_genome(space: SearchSpace) -> Genomes:
    number = np.arange(int(np.prod([len(group.rows) for group in space.groups])))
    genomes = np.zeros((len(number), space.n_genes), dtype=np.uint8)
    for group in space.groups:
        genomes[:, group.members] = group.rows[number % len(group.rows)]
        number //= len(group.rows)
    canonical = space.canonical(genomes)
    unique = canonical[Archive(space.n_genes).fresh(canonical)]
    assert len(unique) == space.size()
    return unique


@pytest.mark.parametrize("objectives", [("top1", "latency_ms"), ("top1", "latency_ms", "size_bytes")])
def test_finds_the_true_front_where_random_does_not(
    space: SearchSpace, make_problem: MakeProblem, objectives: tuple[str, ...]
) -> None:
    """A space that can be counted out: 99 % of the true hypervolume with 1.1 % of its points, in every seed."""
    fixed = {gene.name: [middle(gene)] for gene in space.genes if gene.name not in _FREE}
    small = space.restrict(fixed)
    problem = make_problem(small, objectives)
    F = problem.evaluate(every_genome(small)).F
    assert len(F) == 111_600
    # Measured from the front's own corner, so that what no candidate reaches does not count as reached.
    best, reference = F.min(axis=0), reference_point(F[non_dominated(F)] - F.min(axis=0))
    true = hypervolume(F - best, reference)
    shares = {
        strategy: [
            hypervolume(
                search(problem, strategy, rng=np.random.default_rng(seed), evaluations=1200).F - best, reference
            )
            / true
            for seed in range(3)
        ]
        for strategy in ("nsga2", "random")
    }
    assert min(shares["nsga2"]) >= 0.99 > max(shares["random"])
    assert max(shares["nsga2"]) <= 1.0 + 1e-9
