from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.search.problem import Constraint, InvalidObjectivesError, Problem, minimised
from bitfront.supernet.errors import NumericalError, UnknownNameError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Values = NDArray[np.float64]


def fixed(values: list[float]) -> Callable[[Genomes], Values]:
    return lambda genomes: np.array(values)


def costs(latency: list[float], size: list[float]) -> Callable[[Genomes], dict[str, Values]]:
    return lambda genomes: {"latency_ms": np.array(latency), "size_bytes": np.array(size)}


@pytest.fixture
def genomes(space: SearchSpace) -> Genomes:
    return space.sample(3, np.random.default_rng(0))


def test_flips_top1_and_nothing_else(space: SearchSpace, genomes: Genomes) -> None:
    problem = Problem(
        space,
        ("size_bytes", "top1"),
        fixed([0.9, 0.5, 1.0]),
        costs([1, 2, 3], [30, 20, 10]),
        (Constraint("latency_ms", "<=", 2.0), Constraint("top1", ">=", 0.8)),
    )
    evaluation = problem.evaluate(genomes)
    assert evaluation.F.tolist() == [[30, pytest.approx(0.1)], [20, 0.5], [10, 0.0]]
    np.testing.assert_allclose(evaluation.G, [[-0.5, -0.125], [0.0, 0.375], [0.5, -0.25]])
    assert evaluation.feasible.tolist() == [True, False, False]
    np.testing.assert_allclose(evaluation.violation, [0.0, 0.375, 0.5])
    assert evaluation.metrics["top1"].tolist() == [0.9, 0.5, 1.0]
    assert evaluation.take(np.array([2, 0])).metrics["latency_ms"].tolist() == [3, 1]


def test_without_constraints_all_are_feasible(space: SearchSpace, genomes: Genomes) -> None:
    problem = Problem(space, ("latency_ms",), fixed([]), costs([1, 2, 3], [1, 1, 1]))
    evaluation = problem.evaluate(genomes)
    assert evaluation.G.shape == (3, 0)
    assert evaluation.feasible.all()
    assert "top1" not in evaluation.metrics, "nobody asked for it, so the predictor is left alone"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_names_metric_row_and_genome_of_what_is_not_finite(
    space: SearchSpace, genomes: Genomes, wrong: float
) -> None:
    bad_top1 = Problem(space, ("top1", "latency_ms"), fixed([0.5, wrong, 0.5]), costs([1, 2, 3], [1, 1, 1]))
    with pytest.raises(NumericalError) as caught:
        bad_top1.evaluate(genomes)
    assert "top1 of candidate 1" in str(caught.value)
    assert str(genomes[1].tolist()) in str(caught.value)
    bad_cost = Problem(space, ("top1",), fixed([0.5, 0.5, 0.5]), costs([1, 2, 3], [1, 1, wrong]))
    with pytest.raises(NumericalError, match="size_bytes of candidate 2"):
        bad_cost.evaluate(genomes)


def test_names_a_cost_that_the_device_lacks(space: SearchSpace, genomes: Genomes) -> None:
    for problem in (
        Problem(space, ("energy_mj",), fixed([]), costs([1, 2, 3], [1, 1, 1])),
        Problem(
            space,
            ("latency_ms",),
            fixed([]),
            costs([1, 2, 3], [1, 1, 1]),
            (Constraint("energy_mj", "<=", 1.0),),
        ),
    ):
        with pytest.raises(UnsupportedError, match=r"no energy_mj \(it gives latency_ms, size_bytes\)"):
            problem.evaluate(genomes)


def test_refuses_objectives_that_make_no_sense(space: SearchSpace) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        Problem(space, ("latency",), fixed([]), costs([], []))
    with pytest.raises(InvalidObjectivesError, match="'top1' comes twice"):
        Problem(space, ("top1", "latency_ms", "top1"), fixed([]), costs([], []))
    with pytest.raises(InvalidObjectivesError, match="no objective"):
        Problem(space, (), fixed([]), costs([], []))


def test_refuses_values_of_another_shape(space: SearchSpace, genomes: Genomes) -> None:
    with pytest.raises(ValueError, match=r"top1 of 3 genomes must have shape \(3,\), got \(2,\)"):
        Problem(space, ("top1",), fixed([0.5, 0.5]), costs([1, 2, 3], [1, 1, 1])).evaluate(genomes)


def test_explains_which_constraint_was_never_met(space: SearchSpace, genomes: Genomes) -> None:
    problem = Problem(
        space,
        ("latency_ms",),
        fixed([0.4, 0.6, 0.5]),
        costs([1.5, 2.0, 3.0], [1, 1, 1]),
        (Constraint("latency_ms", "<=", 1.0), Constraint("top1", ">=", 0.55)),
    )
    text = str(problem.explain_infeasible(problem.evaluate(genomes)))
    assert "none of 3 candidates" in text
    assert "latency_ms <= 1 (never met, best value seen 1.5)" in text
    assert "top1 >= 0.55 (met alone, best value seen 0.6)" in text


def test_minimised_leaves_costs_alone() -> None:
    values = np.array([0.25, 1.0])
    assert minimised("top1", values).tolist() == [0.75, 0.0]
    assert minimised("macs", values).tolist() == [0.25, 1.0]
