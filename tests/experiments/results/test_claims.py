"""The list of claims, and how their figures get labels."""

from __future__ import annotations

import dataclasses

import pytest

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.results.claim import PERCENT, TIMES, WORDS, Claim, Shown
from bitfront.experiments.results.claims import CLAIMS


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
        assert claim.row("bitfusion_ratio") == ("BitFusion: ratio", claim.shown[0])
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
