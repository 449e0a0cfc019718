"""Figures as tables: every figure that a claim shows is in one cell, and the heading says what it is."""

from __future__ import annotations

import dataclasses
import re

import pytest

from bitfront.experiments.results.claim import MILLISECONDS, PERCENT, PLAIN, WORDS, Claim, Shown
from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.grid import grids


def column(figure: str, heading: str, table: str = "devices", **changed: object) -> Shown:
    shown = Shown(figure, "{device}, latency {n}", PERCENT, "measured", column=heading, table=table)
    return dataclasses.replace(shown, **changed)  # type: ignore[arg-type]


CLAIM = Claim(
    "made-up",
    "It is made up",
    "It is.",
    "ours",
    "made-up",
    shown=(
        column("{device}_ms_{n}", "latency", unit=MILLISECONDS, known="predicted"),
        column("{device}_top1_{n}", "accuracy"),
        Shown("alone", "a figure by itself", PLAIN, "counted"),
        column("{device}_more_{n}", "more", table="others"),
    ),
)


def test_rows_are_what_figures_are_of() -> None:
    figures = {
        "bitfusion_ms_1": 2.0,
        "bitfusion_ms_2": 4.0,
        "bitfusion_top1_2": 0.5,
        "bitfusion_top1_2_half_interval": 0.01,
        "roofline_top1_1": 0.25,
        "alone": 3.0,
        "not_shown": 1.0,
    }
    single, grid = grids(CLAIM, figures)
    assert single.head == ("figure", "found", "how it is known")
    assert list(single.rows) == [("a figure by itself", "3", "counted")]
    assert grid.head == ("devices", "latency, ms<br>*predicted*", "accuracy, %<br>*measured*")
    assert list(grid.rows) == [
        ("BitFusion (modelled), latency 1", "2", "-"),
        ("BitFusion (modelled), latency 2", "4", "50.0 ± 1.0"),
        ("a roofline accelerator (modelled), latency 1", "-", "25"),
    ]


def test_tables_are_told_apart_and_none_is_empty() -> None:
    assert [grid.head[0] for grid in grids(CLAIM, {"roofline_more_1": 0.1})] == ["others"]
    assert list(grids(CLAIM, {"unknown": 1.0})) == []


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_no_two_figures_of_a_claim_have_one_cell(claim: Claim) -> None:
    places = {word: list(values)[:2] for word, values in WORDS.items()} | {"n": ["1", "2"]}
    figures = dict.fromkeys(
        (
            shown.figure.format(**{word: values[number] for word, values in places.items()})
            for shown in claim.shown
            for number in (0, 1)
        ),
        0.123,
    )
    cells = [cell for grid in grids(claim, figures) for row in grid.rows for cell in row[1:]]
    assert len([cell for cell in cells if re.match(r"\d", cell)]) == len(claim.rows(figures)) == len(figures)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_headings_have_no_places(claim: Claim) -> None:
    for shown in claim.shown:
        assert "{" not in shown.column + shown.table
        assert bool(shown.column) == bool(shown.table)
