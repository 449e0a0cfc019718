"""The page of results: all that was found is on it, and what failed is told as such."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bitfront.experiments.benchmarks.result import Goal, judged
from bitfront.experiments.results.claim import PERCENT, PLAIN, POINTS, Claim, Unit
from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.conditions import Conditions
from bitfront.experiments.results.numbers import figure_text, goal_texts, number_text, number_with_interval
from bitfront.experiments.results.page import page, records_in
from bitfront.experiments.results.record import Record, result_path
from bitfront.supernet.errors import CorruptFileError, MissingFileError

RecordOf = Callable[..., Record]

DOCS = Path(__file__).parents[3] / "docs"


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "
    ]


def test_the_page_in_the_docs_is_written_from_the_files_beside_it() -> None:
    folder = DOCS / "results"
    records = records_in(folder, CLAIMS) if folder.is_dir() else {}
    assert (DOCS / "results.md").read_text() == page(CLAIMS, records, "results"), (
        "write it again: bitfront results page docs/results -o docs/results.md"
    )


def test_nothing_lies_beside_the_page_that_is_not_on_it() -> None:
    folder = DOCS / "results"
    records = records_in(folder, CLAIMS) if folder.is_dir() else {}
    named = {result_path(folder, bench) for bench in records}
    named |= {folder / name for record in records.values() for name in record.pictures}
    assert named == (set(folder.iterdir()) if folder.is_dir() else set())
    assert not any(record.quick for record in records.values())
    assert all(path.stat().st_size < 300_000 for path in named)


class TestPage:
    def test_all_that_was_found_is_told(self, kept: Path, claims: tuple[Claim, ...]) -> None:
        text = page(claims, records_in(kept, claims), "results")
        assert ["BitFusion (modelled): ratio", "1.50 ± 0.25 times", "measured"] in rows(text)
        assert ["BitFusion (modelled): accuracy 1", "87.5 %", "predicted"] in rows(text)
        assert ["BitFusion (modelled): accuracy 1", "≥ 90 %", "87.5 %", "**MISSED**"] in rows(text)
        assert ["BitFusion (modelled): ratio", "≥ 1 times", "1.50 ± 0.25 times", "holds"] in rows(text)
        assert ["BitFusion (modelled): ratio", "≥ 2 times", "1.5 times", "**not reached**"] in rows(text)
        assert "those of all 1 add up to 12 s, 11 s of processor." in text
        assert "\n- One \\| two is left out.\n" in text
        assert (
            "<details><summary><code>bitfront bench first --seeds 3</code>, 3 seeds, 12 s, A | CPU</summary>"
            in text
        )
        assert "![The first one is better: fronts](results/first-fronts.png)" in text

    def test_missed_goals_come_first_and_are_in_the_summary(self, kept: Path, claims: tuple[Claim, ...]) -> None:
        text = page(claims, records_in(kept, claims), "results")
        summary = [
            "[The first one is better](#first)",
            "**MISSED**: 1 of 2 goals",
            "**not reached**: 1 of 1 figures",
        ]
        assert summary in rows(text)
        assert text.index("| **MISSED** |") < text.index("| holds |")

    def test_what_it_was_found_with_stands_beside_it(self, kept: Path, claims: tuple[Claim, ...]) -> None:
        found = {
            row[0]: row[1] for row in rows(page(claims, records_in(kept, claims), "results")) if len(row) == 2
        }
        assert found["command"] == "`bitfront bench first --seeds 3`"
        assert found["seeds"] == "3"
        assert found["begun"] == "2026-01-02 03:04 UTC"
        assert found["took"] == "12 s (11 s of processor), at most 300 MiB"
        assert found["machine"] == r"A \| CPU, 2 cores, 8.0 GiB, Linux 6.1 x86_64, Python 3.11.2"
        assert found["instructions"] == "avx, avx2"
        assert found["code"] == f"commit 0123456789ab, sources {'ab' * 6}"
        assert found["versions"] == "bitfront 0.1.0"
        assert "kept, although" not in found

    def test_notes_are_no_markup(self, record_of: RecordOf, claims: tuple[Claim, ...]) -> None:
        note = 'File "x.py", in <module>: *all* of _it_ and a_name, `code` [link](x)'
        record = record_of({"bitfusion_ratio": 2.5})
        assert record.found is not None
        found = record.found.model_copy(update={"notes": (note,)})
        text = page(claims, {"first": record.model_copy(update={"found": found})}, "r")
        (line,) = [line for line in text.splitlines() if line.startswith("- File")]
        shown = next(part for part in MarkdownIt("commonmark").parse(line) if part.type == "inline").children
        assert shown is not None
        assert {part.type for part in shown} <= {"text", "text_special"}
        assert "".join(part.content for part in shown) == note

    def test_what_lay_beside_data_is_told(
        self, record_of: RecordOf, claims: tuple[Claim, ...], here: Conditions
    ) -> None:
        conditions = here.model_copy(update={"at_hand": {"a-supernet": "ef" * 32}})
        text = page(claims, {"first": record_of({"bitfusion_ratio": 2.5}, conditions=conditions)}, "r")
        assert ["a-supernet", "ef" * 6] in rows(text)

    @pytest.mark.parametrize(("jobs", "words"), [(2, "1 other benchmark"), (4, "3 other benchmarks")])
    def test_what_ran_beside_it_is_told(
        self, record_of: RecordOf, claims: tuple[Claim, ...], jobs: int, words: str
    ) -> None:
        text = page(claims, {"first": record_of({"bitfusion_ratio": 2.5}, jobs=jobs)}, "r")
        assert ["beside it", f"up to {words} at a time"] in rows(text)
        assert "| beside it" not in page(claims, {"first": record_of({"bitfusion_ratio": 2.5})}, "r")

    def test_what_was_kept_is_told(self, record_of: RecordOf, claims: tuple[Claim, ...]) -> None:
        record = record_of({"bitfusion_ratio": 2.0}, kept=("the code has changed", "numpy is another"))
        assert ["kept, although", "the code has changed; numpy is another"] in rows(
            page(claims, {"first": record}, "r")
        )

    def test_what_was_not_run_is_told(self, kept: Path, claims: tuple[Claim, ...]) -> None:
        text = page(claims, records_in(kept, claims), "results")
        assert ["[The second one is there](#second)", "not run", "-"] in rows(text)
        assert "Not run: `bitfront bench second --seeds 5` tests it." in text
        assert "**not" not in page(claims, {}, "results")

    def test_what_failed_is_told_as_it_was(self, record_of: RecordOf, claims: tuple[Claim, ...]) -> None:
        record = record_of({}, found=None, error="a | b\n```\n# no heading\nwas killed by SIGSEGV")
        text = page(claims, {"first": record}, "results")
        assert "````text\na | b\n```\n# no heading\nwas killed by SIGSEGV\n````" in text
        assert ["[The first one is better](#first)", "**FAILED**", "-"] in rows(text)
        assert ["command", "`bitfront bench first --seeds 3`"] in rows(text)

    def test_all_goals_hold(self, record_of: RecordOf, claims: tuple[Claim, ...]) -> None:
        record = record_of({"bitfusion_ratio": 2.5}, ["bitfusion_ratio >= 1"])
        text = page(claims, {"first": record}, "results")
        assert ["[The first one is better](#first)", "holds: 1 of 1 goals", "reached"] in rows(text)
        assert "| **MISSED" not in text

    def test_nothing_that_can_be_judged_is_no_success(
        self, record_of: RecordOf, claims: tuple[Claim, ...]
    ) -> None:
        text = page(claims, {"first": record_of({"other": 2.5})}, "results")
        summary = [
            "[The first one is better](#first)",
            "**nothing was judged**",
            "**not reached**: 1 of 1 figures",
        ]
        assert summary in rows(text)
        assert ["any device: ratio", "≥ 2 times", "no figure", "**not reached**"] in rows(text)

    def test_quick_runs_are_no_results(self, record_of: RecordOf, claims: tuple[Claim, ...]) -> None:
        whole = page(claims, {"first": record_of({"bitfusion_ratio": 2.5}, ["bitfusion_ratio >= 1"])}, "r")
        quick = page(
            claims, {"first": record_of({"bitfusion_ratio": 2.5}, ["bitfusion_ratio >= 1"], quick=True)}, "r"
        )
        assert "These are quick runs" in quick
        assert "holds: 1 of 1 goals (quick run)" in quick
        assert "quick" not in whole

    def test_goals_that_no_row_shows_have_their_names(
        self, record_of: RecordOf, claims: tuple[Claim, ...]
    ) -> None:
        text = page(claims, {"first": record_of({"unknown": 0.5}, ["unknown > 0.25"])}, "results")
        assert ["`unknown`", "> 0.25", "0.5", "holds"] in rows(text)

    def test_what_chance_has_in_a_test_split_is_reckoned(self, claims: tuple[Claim, ...]) -> None:
        text = " ".join(page(claims, {}, "r").split())
        found = re.search(r"which is (\S+) points where they disagree on (\S+) % of (\S+) images", text)
        assert found is not None
        points, share, images = (float(each.replace(",", "")) for each in found.groups())
        assert points == pytest.approx(100 * 2 * math.sqrt(share / 100 / images))

    @given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
    def test_every_figure_that_is_shown_is_there(self, values: list[float]) -> None:
        claim = CLAIMS[0]
        figures = {f"fashion_bitfusion_joint_gain_{n}": value for n, value in enumerate(values, start=1)}
        assert len(claim.rows(figures)) == len(values)
        for name in figures:
            text = figure_text(figures, name, POINTS)
            assert abs(float(text.split()[0].replace(",", "")) - 100 * figures[name]) <= 5e-4 * abs(
                100 * figures[name]
            )


class TestFolder:
    def test_that_is_missing(self, tmp_path: Path, claims: tuple[Claim, ...]) -> None:
        with pytest.raises(MissingFileError, match=r"there is no folder .*none: 'bitfront results run -o"):
            records_in(tmp_path / "none", claims)

    def test_that_holds_nothing(self, tmp_path: Path, claims: tuple[Claim, ...]) -> None:
        assert records_in(tmp_path, claims) == {}

    def test_with_a_damaged_file(self, kept: Path, claims: tuple[Claim, ...]) -> None:
        (kept / "second.json").write_text("{")
        with pytest.raises(CorruptFileError, match=r"second\.json"):
            records_in(kept, claims)


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0"),
            (1.0, "1"),
            (0.123456, "0.1235"),
            (12.3456, "12.35"),
            (1234.56, "1,235"),
            (-20000.0, "-20,000"),
        ],
    )
    def test_texts(self, value: float, text: str) -> None:
        assert number_text(value) == text

    @given(st.floats(-10, 10), st.floats(-10, 10), st.sampled_from([">=", "<=", ">", "<"]))
    def test_a_reader_sees_whether_a_goal_holds(self, value: float, asked: float, sense: str) -> None:
        goal = judged({"it": value}, f"it {sense} {asked}")
        for unit in (PLAIN, PERCENT):
            shown = float(goal_texts(goal, unit)[1].split()[0].replace(",", ""))
            assert judged({"it": shown}, f"it {sense} {asked * unit.scale}").holds is goal.holds

    @pytest.mark.parametrize(
        ("value", "half", "text"),
        [
            (-0.0007067, 0.00023, "-0.071 ± 0.023"),
            (0.5, 0.0, "50 ± 0"),
            (0.9120000000000001, 1.5e-16, "91.2 ± 0"),
            (0.0, 0.0, "0 ± 0"),
            (0.0, 0.001, "0.00 ± 0.10"),
            (-0.00004, 0.0011, "0.00 ± 0.11"),
            (-0.0, 0.0, "0 ± 0"),
            (65.73, 7.7, "6,573 ± 770"),
            (0.9234, 0.1, "92 ± 10"),
            (0.9234, 0.0096, "92.34 ± 0.96"),
        ],
    )
    def test_a_figure_has_the_decimals_of_its_interval(self, value: float, half: float, text: str) -> None:
        assert number_with_interval({"it": value, "it_half_interval": half}, "it", PERCENT) == text

    def test_a_goal_that_is_missed_by_little(self) -> None:
        assert goal_texts(Goal("it", ">= 2", 1.999999, False), Unit("times")) == ("≥ 2 times", "1.999999 times")
        assert goal_texts(Goal("it", "<= 0.03", 0.0301, False), PERCENT) == ("≤ 3 %", "3.01 %")
