"""What the benchmarks of headline claims compare: the same supernet, budgets and measurements for every search."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks import compared_fronts
from bitfront.experiments.benchmarks.against_fixed import fixed_network
from bitfront.experiments.benchmarks.against_int8 import uniform
from bitfront.experiments.benchmarks.best_below import MEASURED, best_below, common_limits
from bitfront.experiments.benchmarks.equal_accuracy import MeasuredFront, equals, ratios
from bitfront.experiments.benchmarks.interval_plot import Line, intervals_figure
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.studied import studied_spec
from bitfront.experiments.benchmarks.tasks import tasks, words
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.results.conditions import Conditions
from bitfront.search.front import Front
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.files import write_json
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SPACES.get("digits")()


class Measured:
    """A study whose candidate i has the latency i + 1, and is as accurate on each split as it is told."""

    def __init__(self, valid: Floats, test: Floats) -> None:
        self.accuracies = {"validation": valid, "test": test}
        self.asked: list[tuple[str, list[int]]] = []
        self.costs = SimpleNamespace(cost=self.cost)

    def top1(self, genomes: Genomes, split: str) -> Floats:
        self.asked.append((split, genomes[:, 0].tolist()))
        return self.accuracies[split][genomes[:, 0]]

    def cost(self, genomes: Genomes) -> Mapping[str, Floats]:
        latency = genomes[:, 0].astype(np.float64) + 1.0
        return {"latency_ms": latency, "energy_mj": latency**2}


def front(predicted: Floats, first: int = 0) -> Front:
    """Candidates from ``first`` on; candidate i is at the latency i + 1."""
    genomes = np.arange(first, len(predicted), dtype=np.uint8)[:, None]
    metrics = {"top1": predicted[first:], "latency_ms": genomes[:, 0].astype(np.float64) + 1.0}
    return Front.of(("top1", "latency_ms"), genomes, metrics)


class TestBestBelow:
    def test_validation_chooses_among_the_best_predicted(self) -> None:
        predicted = np.linspace(0.1, 0.9, 9)
        valid = np.zeros(9)
        valid[[0, 5, 6]] = 0.99, 0.7, 0.6
        study: Any = Measured(valid, np.zeros(9))
        (chosen,) = best_below(study, front(predicted), "latency_ms", np.array([8.0]))
        assert chosen[0] == 5, "candidate 0 is better, but too badly predicted to be measured; 8 is too slow"
        ((split, asked),) = study.asked
        assert (split, sorted(asked), len(asked)) == ("validation", [3, 4, 5, 6, 7], MEASURED)

    def test_as_many_are_measured_as_are_asked_for(self) -> None:
        predicted = np.linspace(0.1, 0.9, 9)
        study: Any = Measured(predicted, predicted)
        best_below(study, front(predicted), "latency_ms", np.array([8.0]), measured=2)
        assert sorted(study.asked[0][1]) == [6, 7]

    def test_each_limit_has_its_own(self) -> None:
        predicted = np.linspace(0.1, 0.9, 9)
        study: Any = Measured(predicted, predicted)
        chosen = best_below(study, front(predicted), "latency_ms", np.array([1.0, 4.0, 9.0]))
        assert chosen[:, 0].tolist() == [0, 3, 8]

    def test_what_was_measured_below_a_lower_limit_is_known(self) -> None:
        predicted = np.linspace(0.1, 0.9, 9)
        valid = np.where(np.arange(9) == 1, 0.8, predicted / 2)
        study: Any = Measured(valid, valid)
        chosen = best_below(study, front(predicted), "latency_ms", np.array([1.0, 2.0, 9.0]), measured=1)
        assert chosen[:, 0].tolist() == [0, 1, 1]

    def test_limits_are_those_at_which_every_front_has_something(self) -> None:
        fast, slow = front(np.linspace(0.1, 0.9, 9)), front(np.linspace(0.1, 0.9, 16), first=3)
        limits = common_limits([fast, slow], "latency_ms", 3)
        np.testing.assert_allclose(limits, [4.0, 8.0, 16.0])


def measured_front(valid: list[float], latency: list[float]) -> MeasuredFront:
    values = np.array(valid)
    costs = np.array(latency)
    return MeasuredFront(values, values - 0.05, {"latency_ms": costs, "energy_mj": costs**2})


class TestEqualAccuracy:
    def test_it_is_known_which_front_put_a_member_forward(self) -> None:
        valid = np.array([0.5, 0.6, 0.8, 0.9])
        study: Any = Measured(valid, valid)
        fronts = [front(valid[:2]), front(valid[:3], first=1)]
        beside = np.array([[3]], dtype=np.uint8)
        found = MeasuredFront.of(study, fronts, "latency_ms", 8, also=[beside])
        assert found.offered is not None
        of_each = dict(zip(found.valid.tolist(), found.offered.tolist(), strict=True))
        assert of_each == {0.5: [True, False], 0.6: [True, True], 0.8: [False, True], 0.9: [False, False]}

    def test_members_that_others_beat_are_left_out(self) -> None:
        valid, test = np.array([0.5, 0.4, 0.8, 0.7]), np.array([0.6, 0.7, 0.8, 0.9])
        study: Any = Measured(valid, test)
        found = MeasuredFront.of(study, [front(valid)], "latency_ms", 4)
        assert sorted(found.valid.tolist()) == [0.5, 0.8]
        assert sorted(found.test.tolist()) == [0.6, 0.8]
        assert study.asked[1] == ("test", [0, 2]), "the rest is not looked at"

    def test_members_that_can_not_be_as_accurate_are_passed_over(self) -> None:
        valid = np.linspace(0.1, 0.8, 8)
        study: Any = Measured(valid, valid)
        MeasuredFront.of(study, [front(valid)], "latency_ms", 4, least_top1=0.45)
        assert sorted(study.asked[0][1]) == [4, 5, 6, 7]
        MeasuredFront.of(study, [front(valid)], "latency_ms", 4, least_top1=0.99)
        assert study.asked[2][1] == [7], "the nearest to it"

    def test_members_that_nothing_can_equal_are_passed_over(self) -> None:
        valid = np.linspace(0.1, 0.8, 8)
        study: Any = Measured(valid, valid)
        MeasuredFront.of(study, [front(valid)], "latency_ms", 8, least_top1=0.35, most_top1=0.65)
        assert sorted(study.asked[0][1]) == [3, 4, 5]
        MeasuredFront.of(study, [front(valid)], "latency_ms", 8, least_top1=0.35, most_top1=0.2)
        assert study.asked[2][1] == [3], "the nearest to it"

    def test_members_that_others_beat_are_not_on_the_front(self) -> None:
        both = measured_front([0.5, 0.7, 0.6, 0.65], [1.0, 4.0, 0.5, 8.0]).front("latency_ms")
        assert sorted(both.valid.tolist()) == [0.6, 0.7]
        assert sorted(both.costs["energy_mj"].tolist()) == [0.25, 16.0]

    def test_genomes_beside_the_fronts_are_measured_too(self) -> None:
        valid = np.array([0.5, 0.6, 0.8, 0.9])
        study: Any = Measured(valid, valid)
        beside = np.array([[1]], dtype=np.uint8)
        found = MeasuredFront.of(study, [front(valid)], "latency_ms", 2, also=[beside])
        assert sorted(found.valid.tolist()) == [0.5, 0.6, 0.9]

    def test_the_cheapest_that_is_as_accurate_is_the_equal(self) -> None:
        rival, ours = measured_front([0.5, 0.7, 0.95], [4.0, 8.0, 9.0]), measured_front([0.5, 0.8, 0.9], [1, 2, 4])
        np.testing.assert_array_equal(equals(rival, ours, "latency_ms"), [[0, 0], [1, 1]])
        found = ratios(rival, ours, "rival", "latency_ms")
        own_turn, rivals_turn = np.log([4.0, 4.0]).mean(), np.log([4.0, 4.5, 2.25]).mean()
        assert found["rival_latency_ms_ratio"] == pytest.approx(np.exp((own_turn + rivals_turn) / 2))
        assert found["rival_latency_ms_largest_ratio"] == pytest.approx(4.0)
        assert found["rival_latency_ms_equals"] == 2.0
        assert found["rival_latency_ms_equalled"] == pytest.approx(2 / 3)
        assert found["rival_latency_ms_test_top1_gain"] == pytest.approx(0.05)
        assert ratios(rival, ours, "rival", "energy_mj")["rival_energy_mj_largest_ratio"] == pytest.approx(16.0)

    def test_where_nothing_of_ours_is_equalled_there_is_one_turn(self) -> None:
        rival, ours = measured_front([0.5, 0.7], [4.0, 8.0]), measured_front([0.8, 0.9], [2.0, 4.0])
        assert ratios(rival, ours, "rival", "latency_ms")["rival_latency_ms_ratio"] == pytest.approx(np.sqrt(8.0))

    def test_two_samples_of_one_front_cost_the_same(self, rng: np.random.Generator) -> None:
        """Luck of the validation split is on both sides, and does not make either of them the cheaper one."""
        latency = np.geomspace(1.0, 8.0, 20)
        found = []
        for _ in range(200):
            fronts = [
                MeasuredFront(0.9 + 0.01 * np.log(cost) + rng.normal(0, 0.003, 20), cost, {"latency_ms": cost})
                for cost in latency * rng.uniform(0.95, 1.05, (2, 20))
            ]
            one, other = (front.front("latency_ms") for front in fronts)
            found.append(ratios(one, other, "same", "latency_ms")["same_latency_ms_ratio"])
        assert np.exp(np.log(found).mean()) == pytest.approx(1.0, abs=0.02)

    def test_a_front_against_itself_gains_nothing(self) -> None:
        one = measured_front([0.5, 0.7, 0.95], [4.0, 8.0, 9.0])
        found = ratios(one, one, "same", "latency_ms")
        assert (found["same_latency_ms_ratio"], found["same_latency_ms_largest_ratio"]) == (1.0, 1.0)
        assert found["same_latency_ms_test_top1_gain"] == 0.0

    def test_nothing_is_said_of_what_has_no_equal(self) -> None:
        found = ratios(measured_front([0.9], [1.0]), measured_front([0.8], [1.0]), "rival", "latency_ms")
        assert found == {"rival_latency_ms_equals": 0.0, "rival_latency_ms_equalled": 0.0}


class TestComparedFronts:
    """On a made-up device; the rival's search is told by its strategy's name."""

    @pytest.fixture
    def compared(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BenchResult]:
        def run(
            rival: Floats, joint: Floats, seeds: int = 1, searches: tuple[str, ...] = ("rival",)
        ) -> BenchResult:
            """Accuracies (n,) of members of each front; those of the joint one come first in the study."""
            accuracies = np.concatenate([joint, rival])
            fronts = {"nsga2": front(joint), "rival": front(accuracies, len(joint))}
            study: Any = Measured(accuracies, accuracies)
            study.space, study.predicting = None, lambda objectives, space: None
            study.costs.names = ("latency_ms",)
            monkeypatch.setattr(compared_fronts, "study", lambda spec, reporter: nullcontext(study))
            monkeypatch.setattr(
                compared_fronts, "searched", lambda problem, strategy, quick, seed: fronts[strategy]
            )
            goals = ("{device}_other_latency_ms_ratio >= 1", "{device}_other_energy_mj_ratio >= 1")
            metrics = ("latency_ms", "energy_mj")
            rivals: Any = lambda studied: {"other": [(None, name) for name in searches]}  # noqa: E731
            names = {"other": "the other one"}
            return compared_fronts.compared_fronts(
                "made-up", rivals, names, metrics, goals, True, seeds, Reporters()
            )

        return run

    def test_goals_are_those_of_metrics_that_the_device_tells(self, compared: Callable[..., BenchResult]) -> None:
        result = compared(rival=np.array([0.5, 0.6]), joint=np.array([0.7, 0.8]), seeds=2)
        assert [(goal.figure, goal.holds) for goal in result.goals] == [
            ("bitfusion_other_latency_ms_equalled", True),
            ("bitfusion_other_latency_ms_ratio", True),
        ]
        assert result.figures["bitfusion_other_latency_ms_equalled"] == 1.0
        budget, measured = result.notes
        assert "300 candidates" in budget
        assert "up to 6 members" in measured

    def test_where_nothing_is_as_accurate_a_goal_fails_and_it_is_noted(
        self, compared: Callable[..., BenchResult]
    ) -> None:
        result = compared(rival=np.array([0.9, 0.95]), joint=np.array([0.7, 0.8]))
        (goal,) = result.goals
        assert (goal.figure, goal.value, goal.holds) == ("bitfusion_other_latency_ms_equalled", 0.0, False)
        *_, note = result.notes
        assert note == (
            "bitfusion: no joint network is as accurate as any one of its rival (the other one), in any seed, so "
            "that nothing can be judged of latency at equal accuracy."
        )

    def test_of_several_searches_it_is_told_what_each_found(self, compared: Callable[..., BenchResult]) -> None:
        rival, joint = np.array([0.5, 0.6, 0.65]), np.array([0.7, 0.8])
        figures = compared(rival, joint, searches=("rival", "nsga2")).figures
        assert figures["bitfusion_other_latency_ms_of_rival"] == 0.0, "candidates of the joint front beat all"
        assert figures["bitfusion_other_latency_ms_of_nsga2"] == 1.0
        assert not any("_of_" in name for name in compared(rival, joint).figures)

    def test_the_line_is_broken_where_nothing_was_measured(
        self, compared: Callable[..., BenchResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: dict[str, dict[str, Line]] = {}

        def figure(panels: dict[str, dict[str, Line]], *labels: str) -> bytes:
            drawn.update(panels)
            return intervals_figure(panels, *labels)

        monkeypatch.setattr(compared_fronts, "intervals_figure", figure)
        compared(rival=np.array([0.5, 0.6]), joint=np.array([0.7, 0.8]))
        assert list(drawn["bitfusion"]) == ["joint search", "the other one"]
        parts = [measured_front([0.5, 0.7], [4.0, 1.0]), measured_front([0.9], [9.0])]
        line = compared_fronts._line(parts)
        np.testing.assert_array_equal(line.x, [1.0, 4.0, np.nan, 9.0])
        np.testing.assert_allclose(line.y, [65.0, 45.0, np.nan, 85.0])
        assert line.bars is None


class TestTasks:
    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bitfront.experiments.benchmarks.tasks.data_folders", lambda: [tmp_path])

    def test_cifar10_is_one_where_its_supernet_is_at_hand(self, tmp_path: Path) -> None:
        write_json(tmp_path / "cifar10-supernet" / "manifest.json", {"space": "digits", "data": "cifar10"})
        fashion, cifar10 = tasks(quick=False)
        assert (fashion.name, fashion.sections) == ("fashion", {})
        spec = studied_spec("bitfusion", False, **cifar10.sections)
        assert (cifar10.name, spec.space.name, spec.data.name) == ("cifar10", "digits", "cifar10")
        assert spec.supernet.weights == str(tmp_path / "cifar10-supernet")
        assert words([fashion, cifar10]).startswith("CIFAR-10 has the supernet")

    @pytest.mark.parametrize("is_there", [False, True])
    def test_else_people_are_told(self, is_there: bool, tmp_path: Path) -> None:
        if is_there:
            (tmp_path / "cifar10-supernet").mkdir()  # still in training
        found = tasks(quick=False)
        assert [task.name for task in found] == ["fashion"]
        assert "Nothing is said of CIFAR-10" in words(found)
        assert [task.name for task in tasks(quick=True)] == ["digits"]

    def test_a_supernet_of_other_data_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "cifar10-supernet" / "manifest.json"
        manifests: list[Any] = [{"space": "digits", "data": "digits"}, {"data": "cifar10"}, []]
        for manifest in manifests:
            write_json(path, manifest)
            with pytest.raises(UnsupportedError, match=r"holds a supernet of space .* put one of data 'cifar10'"):
                tasks(quick=False)

    def test_a_result_is_outdated_where_it_comes_or_changes(self, tmp_path: Path) -> None:
        path, found = tmp_path / "cifar10-supernet" / "manifest.json", []
        for values in (None, {"seed": 0}, {"seed": 1}):
            if values is not None:
                write_json(path, values)
            found.append(Conditions.here("bitfront.experiments.benchmarks.joint"))
        for before, now in itertools.pairwise(found):
            assert list(before.changes_to(now)) == ["cifar10-supernet has come, changed or gone"]
        other = Conditions.here("bitfront.experiments.benchmarks.transfer")
        assert other.at_hand == {}


def test_a_fixed_network_has_policies_alone(space: SearchSpace) -> None:
    largest = fixed_network(space, 1.0)
    drawn = largest.sample(50, np.random.default_rng(0))
    is_policy = np.array([gene.is_policy for gene in space.genes])
    np.testing.assert_array_equal(drawn[:, ~is_policy], np.tile(space.extremes()[1, ~is_policy], (50, 1)))
    assert (drawn[:, is_policy] != drawn[0, is_policy]).any()


def test_uniform_int8_is_so_in_every_layer(space: SearchSpace) -> None:
    drawn = uniform(space).sample(20, np.random.default_rng(0))
    formats = {(one.weight_format, one.activation_format) for each in drawn for one in space.layers(each)}
    assert formats == {("int8", "int8")}


def test_the_picture_has_a_panel_for_each_device() -> None:
    line = Line(np.array([1.0, 10.0]), np.array([90.0, 91.0]), np.array([0.1, 0.2]))
    assert intervals_figure({"a": {"joint": line}, "b": {"joint": line}}, "ms", "%").startswith(b"\x89PNG")


def test_bars_are_drawn_where_intervals_are_known() -> None:
    x = np.arange(1.0, 4.0)
    np.testing.assert_array_equal(Line(x, x, np.array([0.1, 0.0, np.nan])).bars, [0.1, np.nan, np.nan])
    assert Line(x, x, np.zeros(3)).bars is None
    assert Line(x, x).bars is None
