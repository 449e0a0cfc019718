"""Fronts of several devices on one another, with accuracies that are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks import one_family
from bitfront.experiments.benchmarks.equal_accuracy import MeasuredFront
from bitfront.experiments.benchmarks.matrix_plot import Matrix, matrices_figure
from bitfront.experiments.benchmarks.one_family import Crossed, OnDevice, row_of
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import FAMILY, family_spec
from bitfront.experiments.benchmarks.study import OBJECTIVES
from bitfront.experiments.benchmarks.synthetic_accuracy import SyntheticAccuracy
from bitfront.experiments.reporter import Reporters
from bitfront.latency_lut.devices import DEVICES
from bitfront.search.front import Front
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces import SPACES

Floats = NDArray[np.float64]


class MadeUp:
    """A study on a modelled device whose measured accuracy is what is predicted."""

    def __init__(self, device: str) -> None:
        whole, made = SPACES.get("digits")(), DEVICES.get(device)()
        self.space, self.costs = made.restrict(whole), made.compile(whole)
        self.accuracy = SyntheticAccuracy(whole, 1)
        self.splits: list[str] = []

    def top1(self, genomes: Genomes, split: str) -> Floats:
        self.space.check(genomes)  # what the device does not execute is never measured on it
        self.splits.append(split)
        return self.accuracy(genomes)

    def predicting(self) -> Problem:
        return Problem(self.space, OBJECTIVES, self.accuracy, self.costs.cost)


@pytest.fixture(scope="module")
def family() -> dict[str, Any]:
    return {name: MadeUp(name) for name in ("bitfusion", "roofline")}


def own_front(study: MadeUp, n: int = 30) -> Front:
    genomes = np.unique(study.space.sample(n, np.random.default_rng(0), "sizes"), axis=0)
    return Front.of(OBJECTIVES, genomes, study.predicting().evaluate(genomes).metrics)


class TestCrossed:
    def test_a_front_stays_as_it_is_on_its_own_device(self, family: dict[str, Any]) -> None:
        for study in family.values():
            front = own_front(study)
            crossed = Crossed.of(study, study.predicting(), front)
            assert crossed.changed == 0.0
            np.testing.assert_allclose(crossed.front.F, front.F)

    def test_another_device_predicts_anew_what_it_executes(self, family: dict[str, Any]) -> None:
        front, study = own_front(family["roofline"]), family["bitfusion"]
        crossed = Crossed.of(study, study.predicting(), front)
        study.space.check(crossed.front.genomes)
        assert 0 < crossed.changed <= 1
        costs = study.costs.cost(crossed.front.genomes)
        np.testing.assert_allclose(crossed.front.predicted["latency_ms"], costs["latency_ms"])


def measured_front(valid: list[float], latency: list[float]) -> MeasuredFront:
    return MeasuredFront(np.array(valid), np.array(valid), {"latency_ms": np.array(latency)})


def on_device(own: str, other: str, lost: float, own_front: MeasuredFront, foreign: MeasuredFront) -> OnDevice:
    """One seed, two limits; what was found for ``other`` is less accurate by ``lost`` in the mean of both."""
    top1 = {own: np.array([[0.8, 0.9]]), other: np.array([[0.8, 0.9 - 2 * lost]])}
    fronts = {own: [own_front], other: [foreign]}
    return OnDevice(np.array([1.0, 2.0]), top1, fronts, {own: np.zeros(1), other: np.full(1, 0.25)})


class TestRow:
    def test_losses_are_those_on_the_device_that_runs(self) -> None:
        fast, slow = measured_front([0.8, 0.9], [1.0, 2.0]), measured_front([0.8, 0.9], [1.5, 6.0])
        row = row_of(
            {"a": on_device("a", "b-c", 0.01, fast, slow), "b-c": on_device("b-c", "a", 0.03, fast, fast)}, 0
        )
        assert row["b_c_on_a_top1_lost"] == pytest.approx(0.01)
        assert row["a_on_b_c_top1_lost"] == pytest.approx(0.03)
        assert row["mean_top1_lost"] == pytest.approx(0.02)
        assert row["b_c_on_a_latency_ms_ratio"] == pytest.approx(np.sqrt(1.5 * 3.0))
        assert row["a_on_b_c_latency_ms_ratio"] == pytest.approx(1.0)
        assert row["a_on_b_c_changed"] == 0.25
        assert not any("a_on_a" in name for name in row), "nothing is lost where networks are at home"


def fake_studies(family: dict[str, Any], spec: Any, reporter: Any) -> Iterator[dict[str, Any]]:
    yield {name: family[name] for name in spec.named_devices}


@pytest.fixture
def run_made_up(family: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., BenchResult]:
    monkeypatch.setattr(one_family, "studies", contextmanager(partial(fake_studies, family)))
    return partial(one_family.run, quick=True, reporter=Reporters())


class TestRun:
    def test_each_pair_of_devices_is_told(
        self,
        family: dict[str, Any],
        run_made_up: Callable[..., BenchResult],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        drawn: list[Matrix] = []

        def figure(panels: dict[str, Matrix], *names: Any) -> bytes:
            drawn.extend(panels.values())
            return matrices_figure(panels, *names)

        monkeypatch.setattr(one_family, "matrices_figure", figure)
        result = run_made_up(seeds=2)
        pairs = ("bitfusion_on_roofline", "roofline_on_bitfusion")
        assert [goal.figure for goal in result.goals] == ["mean_top1_lost_at_least", "least_equalled"]
        lost = [result.figures[f"{pair}_top1_lost"] for pair in pairs]
        assert result.figures["mean_top1_lost"] == pytest.approx(np.mean(lost))
        assert result.figures["largest_top1_lost"] == max(lost)
        half = result.figures["mean_top1_lost_half_interval"]
        assert result.figures["mean_top1_lost_at_least"] == pytest.approx(np.mean(lost) - half)
        assert result.figures["pairs_that_gain"] == sum(value < 0 for value in lost)
        assert result.pictures["losses"].startswith(b"\x89PNG")
        lost_matrix, slower_matrix = drawn
        assert lost_matrix.values[0, 1] == pytest.approx(100 * lost[0])
        assert lost_matrix.half[0, 1] == pytest.approx(100 * result.figures[f"{pairs[0]}_top1_lost_half_interval"])
        assert slower_matrix.values[1, 0] == pytest.approx(result.figures[f"{pairs[1]}_latency_ms_ratio"])
        assert np.isnan(np.diag(lost_matrix.half)).all()
        assert np.diag(slower_matrix.values).tolist() == [1.0, 1.0]
        assert {split for study in family.values() for split in study.splits} == {"validation", "test"}

    def test_a_pair_without_equals_fails_a_goal(
        self, run_made_up: Callable[..., BenchResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(one_family, "ratios", lambda rival, ours, *names: {f"{'_'.join(names)}_equalled": 0.0})
        result = run_made_up(seeds=1)
        assert [goal.holds for goal in result.goals if goal.figure == "least_equalled"] == [False]
        assert "largest_latency_ratio" not in result.figures


def matrix(values: list[list[float]], half: float = np.nan) -> Matrix:
    known = np.array(values)
    return Matrix(known, np.full(known.shape, half), 0.0, 0.5, "{:+.2f}")


class TestMatrix:
    def test_little_is_pale_and_much_is_darkest(self) -> None:
        np.testing.assert_allclose(matrix([[0.09, -0.25]]).away, [[0.18, -0.5]])
        np.testing.assert_allclose(matrix([[0.5, -2.0]]).away, [[0.25, -1.0]])
        np.testing.assert_array_equal(matrix([[0.0, np.nan]]).away, [[0.0, np.nan]])

    def test_intervals_stand_below_what_they_are_of(self) -> None:
        assert matrix([[0.09]], 0.125).text(0, 0) == "+0.09\n± 0.12"
        assert matrix([[0.09]]).text(0, 0) == "+0.09"
        assert matrix([[np.nan]], 0.1).text(0, 0) == "\N{EN DASH}"


def test_the_picture_takes_what_is_unknown() -> None:
    unknown = matrix([[0.0, np.nan], [0.3, 0.0]])
    nothing = Matrix(np.full((2, 2), np.nan), np.full((2, 2), np.nan), 1.0, 0.5, "{:.2f}")
    assert matrices_figure({"a": unknown, "b": nothing}, ["x", "y"], "rows", "columns").startswith(b"\x89PNG")


def test_the_family_has_one_supernet_and_a_space_for_each_device() -> None:
    spec = family_spec(FAMILY, quick=False)
    assert tuple(spec.named_devices) == FAMILY
    assert spec.has_policies_per_device
