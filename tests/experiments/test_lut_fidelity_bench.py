"""What the fidelity benchmark measures, on a small space; not how good the figures are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks import lut_fidelity as bench
from bitfront.experiments.benchmarks.fidelity_cases import Case
from bitfront.experiments.benchmarks.fidelity_plot import Scatter, fidelity_figure
from bitfront.experiments.reporter import Reporters

SMALL = Case("small", "the small one", "host-onnxruntime", "digits", {"rounds": 4})
ABSENT = Case("absent", "the one in fp8", "host-openvino", "digits", {"precision": "fp8"})


@pytest.mark.slow
def test_tables_are_held_against_networks_that_they_have_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "QUICK_CASES", (SMALL, ABSENT))
    result = bench.run(quick=True, seeds=2, reporter=Reporters())
    names = {name.removesuffix("_small") for name in result.figures}
    assert names >= {"mape", "tau", "truth_tau", "tau_over_least", "r2", "mape_macs", "tau_macs", "blocks"}
    assert names >= {"seconds", "mape_later", "truth_moved", "shortest_ms", "longest_ms"}
    assert not any("absent" in name for name in result.figures)
    assert result.notes == ("the one in fp8: left out, as it can not run on this machine.",)
    assert result.figures["shortest_ms_small"] < result.figures["longest_ms_small"]
    assert 0 <= result.figures["mape_small"] < 1
    assert {goal.figure for goal in result.goals} == {"mape_small", "tau_over_least_small"}
    assert list(result.pictures) == ["scatter"]


def test_a_panel_has_the_scores_of_the_networks_in_it() -> None:
    values: NDArray[np.float64] = np.linspace(1, 2, 5)
    seeds = [{"mape": mape, "tau": 0.9 + mape, "truth_tau": 0.98} for mape in (0.01, 0.03)]
    drawn = bench._scatter(SMALL, values, values, seeds)
    assert (drawn.mape, drawn.tau, drawn.truth_tau) == (0.03, 0.93, 0.98)
    assert drawn.title == "the small one\nthe last of 2 seeds"
    assert bench._scatter(SMALL, values, values, seeds[:1]).title == "the small one"


def test_a_goal_is_no_stricter_than_the_truth_allows() -> None:
    measured = np.arange(1.0, 21.0)
    swapped = measured.copy()
    swapped[[0, 1, 4, 5, 8, 9]] = swapped[[1, 0, 5, 4, 9, 8]]
    scores = bench.scores(swapped, measured, measured, truth=0.97)
    assert scores["tau"] == pytest.approx(1 - 2 * 3 / 190)
    assert scores["tau_over_least"] == pytest.approx(scores["tau"] - 0.95)
    assert bench.scores(swapped, measured, measured, truth=0.9)["tau_over_least"] == pytest.approx(
        scores["tau"] - 0.88
    )
    assert bench.scores(measured, measured, measured, truth=None)["tau_over_least"] == pytest.approx(0.05)


def test_errors_are_relative_to_what_was_measured() -> None:
    scores = bench.scores(np.array([1.1, 1.8]), np.array([1.0, 2.0]), np.array([1.0, 2.0]), truth=1.0)
    assert scores["mape"] == pytest.approx(0.1)
    assert scores["mape_macs"] == 0.0


def test_every_case_has_a_panel() -> None:
    values = np.linspace(1, 2, 5)
    image = fidelity_figure([Scatter(f"case {i}", values, values, 0.01, 0.99, 0.98) for i in range(4)])
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
