"""What is said of rivals: at equal latency, at equal accuracy, and of those that are not here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import over_seeds
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.rivals import dynast_tactics, plot
from bitfront.experiments.benchmarks.rivals import environment as environments
from bitfront.experiments.benchmarks.rivals.compared import Measured, compared, goals
from bitfront.experiments.benchmarks.rivals.contest import Contest, Offer, Setting
from bitfront.experiments.benchmarks.rivals.deployed import Deployed, latencies
from bitfront.experiments.benchmarks.rivals.dynast_script import Interface, Runner
from bitfront.experiments.benchmarks.rivals.dynast_tactics import answer_script
from bitfront.experiments.benchmarks.rivals.environment import LeftOutError, clean, environment, run_apart
from bitfront.experiments.benchmarks.rivals.names import NAMES, OURS
from bitfront.experiments.benchmarks.rivals.nncf_script import _validated
from bitfront.experiments.benchmarks.rivals.ort_int8 import int8_by_onnxruntime
from bitfront.experiments.benchmarks.rivals.plot import rivals_figure
from bitfront.experiments.benchmarks.rivals.searches import counted, front_of, in_real_numbers
from bitfront.experiments.benchmarks.search_rivals import Ledger, SpentError, optuna_nsga2, optuna_tpe, spend
from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.latency_lut.devices.host_openvino import HostOpenVINO
from bitfront.search.problem import Problem
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.openvino_run import run_openvino
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SPACES.get("digits")()


def measured(valid: list[float], latency_ms: list[float], test: list[float] | None = None) -> Measured:
    return Measured(np.array(valid), np.array(test or valid), np.array(latency_ms))


class TestCompared:
    def test_a_method_against_itself_gains_nothing(self) -> None:
        one = measured([0.7, 0.8, 0.9], [1.0, 2.0, 4.0])
        (found,) = compared([{OURS: one, "rival": one}])
        assert {found[f"ours_over_rival_{name}"] for name in ("gain", "least_gain", "gain_1", "gain_5")} == {0.0}
        assert (found["rival_latency_ms_equalled"], found["ours_equalled_by_rival"]) == (1.0, 1.0)
        assert found["rival_latency_ms_ratio"] == pytest.approx(1.0)
        assert found["ours_hypervolume"] == found["rival_hypervolume"] > 0

    def test_where_we_lose_it_says_so(self) -> None:
        ours, rival = measured([0.7, 0.8], [2.0, 4.0]), measured([0.75, 0.85], [1.0, 2.0])
        (found,) = compared([{OURS: ours, "rival": rival}])
        assert found["ours_over_rival_gain"] < 0
        assert found["ours_over_rival_gain_5"] == pytest.approx(0.8 - 0.85)
        assert found["ours_equalled_by_rival"] == 1.0
        assert found["rival_latency_ms_ratio"] < 1
        assert found["ours_hypervolume"] < found["rival_hypervolume"]
        result = BenchResult.of("rivals", 1, found, goals(found, ["rival"]))
        assert [goal.holds for goal in result.goals] == [False, False, False]

    def test_a_rival_that_is_left_out_misses_a_goal(self) -> None:
        figures = {"absent_ran": 0.0}
        (goal,) = BenchResult.of("rivals", 1, figures, goals(figures, ["absent"])).goals
        assert (goal.figure, goal.holds) == ("absent_ran", False)

    def test_limits_go_from_what_both_meet_to_the_slowest(self) -> None:
        ours, rival = measured([0.7, 0.8], [1.0, 4.0]), measured([0.6, 0.9], [2.0, 32.0])
        (found,) = compared([{OURS: ours, "rival": rival}])
        limits = [found[f"rival_latency_ms_{number}"] for number in range(1, 6)]
        np.testing.assert_allclose(limits, [2.0, 4.0, 8.0, 16.0, 32.0])
        gains = [found[f"ours_over_rival_gain_{number}"] for number in range(1, 6)]
        np.testing.assert_allclose(gains, [0.1, 0.2, 0.2, 0.2, -0.1])
        assert found["ours_over_rival_gain"] == pytest.approx(np.mean(gains))
        assert found["ours_over_rival_least_gain"] == pytest.approx(-0.1)

    def test_validation_chooses_and_the_test_split_judges(self) -> None:
        ours = measured([0.9, 0.8], [1.0, 1.0], test=[0.5, 0.99])
        (found,) = compared([{OURS: ours, "rival": measured([0.6], [1.0])}])
        assert found["ours_over_rival_gain_1"] == pytest.approx(0.5 - 0.6)

    def test_where_no_rival_has_an_equal_a_goal_fails_by_that(self) -> None:
        (found,) = compared([{OURS: measured([0.5], [1.0]), "rival": measured([0.9], [1.0])}])
        assert found["rival_latency_ms_equalled"] == 0.0
        result = BenchResult.of("rivals", 1, found, goals(found, ["rival"]))
        assert [(goal.figure, goal.holds) for goal in result.goals] == [
            ("ours_over_rival_gain", False),
            ("rival_latency_ms_equalled", False),
        ]

    def test_all_seeds_have_one_box(self) -> None:
        ours, rival, slow = measured([0.7], [1.0]), measured([0.6], [2.0]), measured([0.5], [50.0])
        first, second = compared([{OURS: ours, "rival": rival, "slow": slow}, {OURS: ours, "rival": rival}])
        assert first["ours_hypervolume"] == second["ours_hypervolume"] > first["rival_hypervolume"]
        assert first["rival_hypervolume"] == second["rival_hypervolume"] > first["slow_hypervolume"]

    def test_seeds_without_a_figure_do_not_count(self) -> None:
        assert over_seeds([{"a": 1.0, "b": 4.0}, {"a": 3.0}])["a"] == 2.0
        assert over_seeds([{"a": 1.0, "b": 4.0}, {"a": 3.0}])["b"] == 4.0

    def test_the_picture_says_what_all_marks_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        labels: list[str] = []
        monkeypatch.setattr(plot, "dress", lambda panel, *_: labels.extend(panel.get_legend_handles_labels()[1]))
        assert rivals_figure({name: measured([0.5, 0.6], [1, 2]) for name in NAMES}).startswith(b"\x89PNG")
        assert labels == [*NAMES.values(), plot._PALE_WORDS]


class TestEnvironment:
    def test_one_that_is_not_there_is_not_made_unless_it_may(self, home: Path) -> None:
        with pytest.raises(LeftOutError, match="not installed"):
            environment("rival", ["rival==1"], False, Reporters())
        assert not (home / "bench").exists()

    def test_one_that_was_made_is_found_as_long_as_the_same_is_asked(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[list[str]] = []

        def made(command: list[str], name: str) -> str:
            calls.append(command)
            return ""

        monkeypatch.setattr(environments, "run_apart", made)
        python = environment("rival", ["rival==1"], True, Reporters())
        assert python.is_relative_to(home)
        assert calls[1][-1] == "rival==1"
        assert environment("rival", ["rival==1"], False, Reporters()) == python
        assert len(calls) == 2
        with pytest.raises(LeftOutError):
            environment("rival", ["rival==2"], False, Reporters())

    def test_a_failure_tells_its_cause(self) -> None:
        with pytest.raises(LeftOutError, match="no such thing"):
            run_apart([sys.executable, "-c", "raise SystemExit('no such thing')"], "rival")
        with pytest.raises(LeftOutError, match="can not be started"):
            run_apart(["/nowhere/python"], "rival")

    def test_one_that_hangs_is_left_out(self) -> None:
        with pytest.raises(LeftOutError, match=r"did not end in 0\.2 s"):
            run_apart([sys.executable, "-c", "import time; time.sleep(60)"], "rival", 0.2)

    def test_versions_are_told(self) -> None:
        assert environments.version_in(Path(sys.executable), "numpy") == np.__version__
        with pytest.raises(LeftOutError, match="no-such-package"):
            environments.version_in(Path(sys.executable), "no-such-package")

    def test_it_knows_nothing_of_our_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/somewhere")
        assert "PYTHONPATH" not in clean()

    def test_a_rival_that_is_left_out_is_not_tried_again(self) -> None:
        tried = []

        def make() -> Offer:
            tried.append(1)
            raise LeftOutError("it can not be installed")

        study: Any = None
        setting = Setting(study, True, Reporters())
        for _ in range(2):
            contest = Contest(setting)
            contest.try_to_enter("rival", make)
            assert contest.entries == {}
        assert (len(tried), setting.left_out) == (1, {"rival": "it can not be installed"})
        assert setting.shares() == {"rival_ran": 0.0}

    def test_what_can_not_be_prepared_is_left_out(self, tmp_path: Path) -> None:
        def absent(may_install: bool, reporter: Reporter) -> Path:
            raise LeftOutError(f"may install: {may_install}")

        study: Any = None
        setting = Setting(study, True, Reporters())
        setting.prepare(["a", "b"], "numpy", absent)
        setting.prepare(["c"], "numpy", lambda may_install, reporter: Path(sys.executable))
        setting.prepare(["broken"], "numpy", lambda may_install, reporter: tmp_path / "python")
        assert set(setting.left_out) == {"a", "b", "broken"}
        assert setting.left_out["a"] == setting.left_out["b"] == "may install: False"
        assert setting.pythons == {"c": Path(sys.executable)}
        assert setting.versions == {"numpy": np.__version__}

    def test_the_share_of_seeds_in_which_a_rival_ran_is_told(self) -> None:
        study: Any = None
        setting = Setting(study, True, Reporters())
        offers: list[Offer | LeftOutError] = [Offer([]), LeftOutError("it broke")]

        def make() -> Offer:
            offer = offers.pop(0)
            if isinstance(offer, LeftOutError):
                raise offer
            return offer

        for _ in range(4):
            Contest(setting).try_to_enter("rival", make)
        assert setting.shares() == {"rival_ran": 0.25}
        assert offers == []

    def test_a_contest_tells_what_was_spent(self) -> None:
        study: Any = None
        contest = Contest(Setting(study, True, Reporters()))
        contest.enter("searched", lambda: Offer([], 7), before=10.0)
        contest.enter("quantized", lambda: Offer([]))
        spent = contest.spent()
        assert spent["searched_seconds"] > 10.0
        assert spent["searched_evaluations"] == 7.0
        assert set(spent) == {"searched_seconds", "searched_evaluations", "quantized_seconds"}


def test_what_is_measured_is_measured_once(space: SearchSpace) -> None:
    asked: list[str] = []

    def evaluate_one(genome: NDArray[np.uint8], split: str) -> SimpleNamespace:
        asked.append(split)
        return SimpleNamespace(top1=float(genome[0]) / 10)

    costs = SimpleNamespace(cost=lambda genomes: {"latency_ms": np.ones(len(genomes))})
    ground = SimpleNamespace(evaluator=SimpleNamespace(evaluate_one=evaluate_one))
    study: Any = SimpleNamespace(space=space, costs=costs, ground=ground)
    setting = Setting(study, True, Reporters())
    problem, genomes = setting.measuring("measuring", 3), space.sample(3, np.random.default_rng(0))
    first, again = problem.evaluate(genomes), problem.evaluate(genomes[::-1])
    np.testing.assert_allclose(first.F[:, 0], 1 - genomes[:, 0] / 10)
    np.testing.assert_array_equal(again.F, first.F[::-1])
    assert asked == ["validation"] * 3


class TestSearches:
    @staticmethod
    def problem(space: SearchSpace) -> Problem:
        def predict(genomes: Genomes) -> Floats:
            return np.asarray(genomes.mean(axis=1) / 10)

        return Problem(
            space, ("top1", "latency_ms"), predict, lambda genomes: {"latency_ms": 1.0 + genomes.sum(1)}
        )

    @pytest.mark.parametrize("rival", [optuna_nsga2, optuna_tpe])
    def test_optuna_scores_what_is_allowed_and_no_more(self, space: SearchSpace, rival: Any) -> None:
        part = in_real_numbers(space)
        problem = self.problem(part)
        ledger = Ledger(problem, 25)
        spend(rival, problem, ledger, 10, 0)
        assert ledger.genomes.shape == (25, space.n_genes)
        assert part.valid(ledger.genomes).all()
        front = front_of(problem, ledger)
        assert 1 <= len(front) <= 25
        assert not front.dominated.any()

    def test_what_is_scored_is_counted(self, space: SearchSpace) -> None:
        problem, scored = counted(self.problem(space))
        genomes = space.sample(3, np.random.default_rng(0))
        np.testing.assert_array_equal(problem.evaluate(genomes).F, self.problem(space).evaluate(genomes).F)
        problem.evaluate(genomes[:1])
        assert scored() == 4

    def test_time_ends_a_search_too(self, space: SearchSpace) -> None:
        ledger = Ledger(self.problem(space), 1000, seconds=0.0)
        with pytest.raises(SpentError):
            ledger.score(space.sample(3, np.random.default_rng(0)))
        assert len(ledger) == len(ledger.objectives) == 3

    def test_a_search_that_scored_nothing_is_left_out(self, space: SearchSpace) -> None:
        problem = self.problem(space)
        with pytest.raises(LeftOutError, match="had scored a candidate"):
            front_of(problem, Ledger(problem, 10))


_ASKS = """
import json, sys
for choices in {genomes}:
    print(json.dumps(choices), flush=True)
    print(sys.stdin.readline(), file=sys.stderr)
{end}
"""


class TestDynast:
    @staticmethod
    def answered(space: SearchSpace, folder: Path, most: int, end: str = "") -> Ledger:
        genomes = space.sample(4, np.random.default_rng(0)).tolist()
        ledger = Ledger(TestSearches.problem(space), most)
        code = _ASKS.format(genomes=[*genomes, genomes[0]], end=end)
        answer_script([sys.executable, "-c", code], space, ledger, folder)
        return ledger

    def test_every_question_is_answered_by_the_ledger(self, space: SearchSpace, tmp_path: Path) -> None:
        ledger = self.answered(space, tmp_path, 100)
        lines = [json.loads(line) for line in (tmp_path / "said.txt").read_text().split("\n") if line]
        np.testing.assert_allclose(lines[:4], ledger.objectives)
        assert lines[4] == lines[0], "what is asked again is answered again"
        np.testing.assert_array_equal(ledger.genomes, space.sample(4, np.random.default_rng(0)))

    def test_it_ends_with_the_budget(self, space: SearchSpace, tmp_path: Path) -> None:
        with pytest.raises(SpentError):
            self.answered(space, tmp_path, 2)

    def test_what_fails_is_left_out_and_tells_why(self, space: SearchSpace, tmp_path: Path) -> None:
        with pytest.raises(LeftOutError, match="no fairseq"):
            self.answered(space, tmp_path, 100, end="raise SystemExit('no fairseq')")

    def test_one_that_is_killed_is_left_out_too(self, space: SearchSpace, tmp_path: Path) -> None:
        with pytest.raises(LeftOutError, match="failed"):
            self.answered(space, tmp_path, 100, end="import os; os.kill(os.getpid(), 11)")

    def test_one_that_hangs_is_left_out(
        self, space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dynast_tactics, "_MOST_SECONDS", 1.5)
        ledger = Ledger(TestSearches.problem(space), 10)
        with pytest.raises(LeftOutError, match="failed"):
            answer_script([sys.executable, "-c", "import time; time.sleep(60)"], space, ledger, tmp_path)

    def test_one_that_is_late_has_what_it_scored(
        self, space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dynast_tactics, "_MOST_SECONDS", 3.0)
        with pytest.raises(SpentError):
            self.answered(space, tmp_path, 100, end="import time; time.sleep(60)")

    def test_one_that_can_not_be_started_is_left_out(self, space: SearchSpace, tmp_path: Path) -> None:
        ledger = Ledger(TestSearches.problem(space), 10)
        with pytest.raises(LeftOutError, match="can not be started"):
            answer_script(["/nowhere/python"], space, ledger, tmp_path)

    def test_one_that_does_not_wait_for_an_answer_is_told_by_its_end(
        self, space: SearchSpace, tmp_path: Path
    ) -> None:
        genome = space.sample(1, np.random.default_rng(0))[0].tolist()
        code = f"import os; os.close(0); print({genome}, flush=True); raise SystemExit('gone')"
        ledger = Ledger(TestSearches.problem(space), 10)
        with pytest.raises(LeftOutError, match="gone"):
            answer_script([sys.executable, "-c", code], space, ledger, tmp_path)

    @pytest.mark.parametrize("stray", ["a warning", "[1, 2, 300]", "{}"])
    def test_lines_that_are_no_genes_are_told(self, space: SearchSpace, tmp_path: Path, stray: str) -> None:
        with pytest.raises(LeftOutError, match="where genes were expected"):
            self.answered(space, tmp_path, 100, end=f"print({stray!r}, flush=True)")

    @pytest.mark.parametrize("is_predicting", [False, True])
    def test_objectives_are_in_the_order_asked_for(self, tmp_path: Path, is_predicting: bool) -> None:
        asked: Any = lambda genome: (0.1, 2.0)  # noqa: E731
        constant = {
            name: SimpleNamespace(predict=lambda features, value=value: np.full(len(features), value))
            for name, value in (("acc_predictor", 0.9), ("latency_predictor", 2.0))
        }
        encoding = SimpleNamespace(
            translate2param=lambda x: {"gene0": [int(x[0])]},
            translate2pymoo=lambda chosen: [0],
            onehot_generic=lambda vector: np.array([1.0]),
        )
        results = tmp_path / "results.csv"
        one = Interface(
            asked, Runner(**constant), encoding, ["accuracy_top1", "latency"],
            None if is_predicting else str(results), predictor_mode=is_predicting,
        )  # fmt: skip
        assert one.eval_subnet([1.0]) == ({"gene0": [1]}, pytest.approx(-0.9), 2.0)
        assert results.exists() != is_predicting


def test_accuracy_is_known_over_all_batches_and_over_images_alone() -> None:
    rng = np.random.default_rng(0)
    batches = [(rng.random((n, 1, 2, 2), np.float32), np.zeros(n, np.int64)) for n in (4, 2)]

    def model(images: NDArray[np.float32]) -> list[NDArray[np.float64]]:
        return [np.eye(2)[np.full(len(images), int(len(images) == 2))]]

    validate = _validated(batches)
    assert validate(model, batches) == (4 / 6, [1.0, 0.0])
    assert validate(model, [batches[1][0]]) == (0.0, [0.0])


@pytest.fixture(scope="module")
def network(space: SearchSpace) -> Deployed:
    pytest.importorskip("openvino")
    blocks = space.blocks(space.extremes()[0])
    folded = random_folded(blocks, np.random.default_rng(0))
    return Deployed(onnx_model(folded, runtime="openvino").SerializeToString(), blocks[0].layers[0].in_size)


class TestDeployed:
    def test_onnxruntime_quantizes_what_openvino_runs(self, network: Deployed) -> None:
        images = np.random.default_rng(1).random((40, 1, network.resolution, network.resolution), np.float32)
        int8 = int8_by_onnxruntime(network, images)
        assert b"QuantizeLinear" in int8.model
        assert b"QuantizeLinear" not in network.model
        real, rounded = run_openvino(network.model, images), run_openvino(int8.model, images)
        assert (real != rounded).any()
        assert np.abs(real - rounded).max() < 0.2 * np.abs(real).max()

    def test_what_onnxruntime_can_not_quantize_is_left_out(self, network: Deployed) -> None:
        images = np.zeros((2, 1, network.resolution + 1, 3), np.float32)
        with pytest.raises(LeftOutError, match="quantize_static failed"):
            int8_by_onnxruntime(network, images)

    def test_all_are_timed(self, network: Deployed) -> None:
        found = latencies(HostOpenVINO(rounds=2), [network, network], np.random.default_rng(0))
        assert found.shape == (2,)
        assert (found > 0).all()

    def test_it_takes_the_images_that_are_asked_for(self, network: Deployed) -> None:
        assert list(network.read(5).input(0).shape) == [5, 1, network.resolution, network.resolution]
