"""The list of claims, and how their figures get labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.benchmarks.equal_accuracy import MeasuredFront, ratios
from bitfront.experiments.benchmarks.lut_fidelity import scores
from bitfront.experiments.benchmarks.transfer import Scores, samples_needed
from bitfront.experiments.results.claim import PERCENT, TIMES, WORDS, Claim, Shown
from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.claims_of_parts import LUT_FIDELITY, TRANSFER
from bitfront.experiments.results.claims_of_rivals import RIVALS
from bitfront.experiments.results.claims_of_search import AGAINST_FIXED, AGAINST_INT8, ONE_FAMILY, SEARCH_COST
from bitfront.experiments.results.page import page
from bitfront.experiments.results.record import Record
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.runtime_device import RuntimeDevice


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
class TestEach:
    def test_a_benchmark_tests_it(self, claim: Claim) -> None:
        assert claim.bench in BENCHMARKS.names()
        assert claim.seeds >= 1

    def test_it_is_said_what_is_claimed_and_by_whom(self, claim: Claim) -> None:
        assert claim.statement.endswith(".")
        assert claim.source
        assert not claim.source.endswith(".")

    def test_rows_are_told_apart(self, claim: Claim) -> None:
        figures = [shown.figure for shown in claim.shown]
        assert len(figures) == len(set(figures))
        for shown in claim.shown:
            places = {word: next(iter(values)) for word, values in WORDS.items()} | {"n": "7"}
            assert claim.row(shown.figure.format(**places)) == (
                shown.label.format(
                    **{word: WORDS[word][value] for word, value in places.items() if word != "n"}, n=7
                ),
                shown,
            )
            for place in (*WORDS, "n"):
                assert (f"{{{place}}}" in shown.figure) == (f"{{{place}}}" in shown.label)

    def test_what_is_published_can_be_judged(self, claim: Claim) -> None:
        for shown in claim.shown:
            if shown.published:
                sense, number = shown.published.split()
                assert sense in (">=", "<=", ">", "<")
                assert float(number) > 0


def test_names_and_headings_are_told_apart() -> None:
    for field in ("name", "heading"):
        values = [getattr(claim, field) for claim in CLAIMS]
        assert len(values) == len(set(values))


class TestRows:
    def test_places_stand_for_known_names_alone(self, claims: tuple[Claim, ...]) -> None:
        claim = claims[0]
        assert claim.row("bitfusion_ratio") == ("BitFusion (modelled): ratio", claim.shown[0])
        assert claim.row("host_openvino_top1_12") == ("this CPU under OpenVINO: accuracy 12", claim.shown[1])
        for figure in ("bitfusion_largest_ratio", "bitfusion_ratio_half_interval", "bitfusion_top1_", "ratio"):
            assert claim.row(figure) is None

    def test_rows_stand_in_the_order_of_the_claim(self, claims: tuple[Claim, ...]) -> None:
        figures = ["bitfusion_top1_1", "more", "bitfusion_top1_2", "bitfusion_ratio"]
        found = [figure for figure, _, _ in claims[0].rows(figures)]
        assert found == ["bitfusion_ratio", "bitfusion_top1_1", "bitfusion_top1_2"]

    def test_a_claim_that_names_no_figures_shows_all(self, claims: tuple[Claim, ...]) -> None:
        found = claims[1].rows(["a", "b"])
        assert [(figure, label) for figure, label, _ in found] == [("a", "`a`"), ("b", "`b`")]

    def test_dots_in_names_are_dots(self) -> None:
        shown = Shown("a.b_{n}", "{n}", TIMES, "measured")
        assert shown.labelled("a.b_1") == "1"
        assert shown.labelled("axb_1") is None
        assert dataclasses.replace(shown, unit=PERCENT).unit.scale == 100


class TestWords:
    def test_devices_that_are_not_measured_are_told_as_modelled(self) -> None:
        pytest.importorskip("openvino")
        for place in ("device", "other"):
            for name, word in WORDS[place].items():
                measured = isinstance(DEVICES.get(name.replace("_", "-"))(), RuntimeDevice)
                assert word.endswith("(modelled)") is not measured

    def test_all_that_is_counted_at_equal_accuracy_is_shown(self) -> None:
        front = MeasuredFront(np.array([0.5]), np.array([0.5]), {"latency_ms": np.array([1.0])})
        for claim, name in ((AGAINST_FIXED, "bitfusion_median"), (AGAINST_INT8, "roofline_int8")):
            assert all(claim.row(figure) for figure in ratios(front, front, name, "latency_ms"))
        shown = ("equals", "equalled", "ratio")
        for claim, name in ((RIVALS, "nncf"), (ONE_FAMILY, "bitfusion_on_roofline")):
            assert all(claim.row(f"{name}_latency_ms_{figure}") for figure in shown)

    def test_by_which_split_accuracy_is_equal_is_told(self) -> None:
        words = ("equal of", "joint equal", "own equal", "equal accuracy")
        told = [
            shown.label + shown.table
            for claim in CLAIMS
            for shown in claim.shown
            if any(word in shown.label + shown.table for word in words)
        ]
        assert len(told) > 20
        assert all("on the validation split" in each for each in told)

    @pytest.mark.parametrize("truth", [1.0, 0.98, 0.96, 0.9])
    def test_what_tau_is_asked_is_what_the_benchmark_asks(self, truth: float) -> None:
        found = re.search(r"at least (\S+), or the truth's tau with itself less (\S+) ", LUT_FIDELITY.statement)
        assert found is not None
        latency = np.array([1.0, 2.0, 3.0])
        figures = scores(latency, latency, latency, truth)
        asked = min(float(found[1]), truth - float(found[2]))
        assert figures["tau"] - figures["tau_over_least"] == pytest.approx(asked)

    def test_the_column_that_a_claim_points_at_is_there(self) -> None:
        pointed = re.findall('"(.+?)"', LUT_FIDELITY.statement)
        assert pointed
        assert set(pointed) <= {shown.column for shown in LUT_FIDELITY.shown}

    def test_one_of_them_is_no_plural(self) -> None:
        labels = [SEARCH_COST.row(f"{kind}_{n}_seconds") for n in (1, 5) for kind in ("devices", "constraints")]
        assert [label and label[0] for label in labels] == [
            "the first modelled device: time",
            "the first limit: time",
            "the first 5 modelled devices together: time",
            "the first 5 limits together: time",
        ]


class TestAtLeast:
    """Samples from scratch, where not even the most of them reach what transfer does with 50."""

    figures: ClassVar = {
        "digits_samples_from_scratch_over_transferred": 8.0,
        "digits_transferred_50": 0.9,
        "digits_transferred_400": 0.99,
        "digits_scratch_50": 0.7,
        "digits_scratch_400": 0.89,
        "fashion_scratch_400": 1.0,
    }

    def told(self, record_of: Callable[..., Record], **changed: float) -> list[str]:
        goal = "digits_samples_from_scratch_over_transferred >= 3"
        record = record_of(self.figures | changed, [goal], bench="transfer")
        lines = page([TRANSFER], {"transfer": record}, "r").splitlines()
        return [line.split(" | ", 1)[1] for line in lines if line.startswith("| digits: samples from scratch")]

    def test_it_is_told_wherever_the_figure_stands(self, record_of: Callable[..., Record]) -> None:
        assert self.told(record_of) == [
            "≥ 3 times | at least 8 times | holds |",
            "at least 8 times | measured on held-out pairs |",
        ]

    def test_what_was_reached_is_exact(self, record_of: Callable[..., Record]) -> None:
        for reached in ({"digits_scratch_400": 0.9}, {"digits_scratch_100": 0.95}):
            assert self.told(record_of, **reached)[0] == "≥ 3 times | 8 times | holds |"

    def test_as_the_benchmark_says(self) -> None:
        """It takes the largest size where the target is never reached, and the same where it just is."""
        (shown,) = [each for each in TRANSFER.shown if each.least_where]
        for last, reached in ((0.85, False), (0.9, True)):
            accuracy = {"transferred": np.array([[0.9, 0.95]]), "scratch": np.array([[0.8, last]])}
            needed = samples_needed(Scores((50, 400), accuracy, np.zeros((1, 2))))
            figures = {
                f"digits_{name}_{n}": row
                for name, rows in accuracy.items()
                for n, row in zip((50, 400), rows[0], strict=True)
            }
            name = "digits_samples_from_scratch_over_transferred"
            assert needed == pytest.approx(400)
            assert shown.prefix({**figures, name: needed / 50}, name) == ("" if reached else "at least ")
