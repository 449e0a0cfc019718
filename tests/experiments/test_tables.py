"""Tables for people."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.commands.shown import sparkline
from bitfront.experiments.tables import bench_table, front_notes, front_table


def text_of(table: Table, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def row(candidate: int, **changes: Any) -> dict[str, Any]:
    return {
        "candidate": candidate,
        "architecture": "r16 5w40.7w40.3w40|7w80.7w80.5w80|7w96.3w24",
        "bits": "w5.3 a6.8",
        "predicted": {"top1": 0.98, "latency_ms": 0.5, "size_bytes": 123456.0, "energy_mj": 0.01234},
        "measured": {"top1": None, "top1_test": None, "latency_ms": None},
        "dominated": False,
        "error": None,
        **changes,
    }


class TestFrontTable:
    def test_fits_a_terminal_and_loses_nothing(self) -> None:
        lines = text_of(front_table([row(123456)], ["top1", "latency_ms", "size_bytes"]))
        assert max(map(len, lines)) <= 100
        text = " ".join(lines)
        for block in ("r16", "5w40.7w40.3w40|", "7w80.7w80.5w80|", "7w96.3w24", "123456", "0.9800", "123.5"):
            assert block in text
        assert "…" not in text

    def test_no_column_is_cut_off_in_80_columns(self) -> None:
        measured = {"top1": 0.9815, "top1_test": 0.9805, "latency_ms": 0.09945}
        predicted = {"top1": 0.9787, "latency_ms": 0.08438, "size_bytes": 156.7e3}
        rows = [row(12345, bits="w29.7 a29.7", measured=measured, predicted=predicted)]
        lines = text_of(front_table(rows, ["top1", "latency_ms", "size_bytes"], 80), 80)
        (line,) = [line for line in lines if "12345" in line]
        assert line.split()[-6:] == ["0.9787", "0.9815", "0.9805", "0.08438", "0.09945", "156.7"]
        folded = "".join(line[10:25].strip() for line in lines)
        assert "r165w40.7w40.3w40|7w80.7w80.5w80|7w96.3w24" in folded

    def test_what_was_not_measured_is_a_dash(self) -> None:
        (line,) = [line for line in text_of(front_table([row(1)], [])) if "0.9800" in line]
        assert line.split()[-6:] == ["0.9800", "-", "-", "0.5", "-", "123.5"]

    def test_other_objectives_have_columns(self) -> None:
        lines = text_of(front_table([row(1)], ["top1", "energy_mj"]))
        assert lines[0].split()[-1] == "energy"
        assert any(line.split()[-1] == "0.01234" for line in lines)

    def test_notes_tell_of_dominated_hidden_and_failed_ones(self) -> None:
        notes = "\n".join(front_notes([row(1, dominated=True), row(2, error="its worker died")], 3))
        assert "* dominated" in notes
        assert "candidate 2 was not measured: its worker died" in notes
        assert "3 more" in notes
        plain = "\n".join(front_notes([row(1)], 0))
        assert "dominated" not in plain


def test_bench_table_tells_what_holds() -> None:
    result = BenchResult.of("b", 2, {"a": 0.7, "b": 0.1, "c": 3.0}, ["a >= 0.6", "b > 0.5"])
    lines = [line.split() for line in text_of(bench_table(result))]
    assert ["a", "0.7", ">=", "0.6", "holds"] in lines
    assert ["b", "0.1", ">", "0.5", "missed"] in lines
    assert ["c", "3"] in lines


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == ""
    assert sparkline([0.0, 1.0, 0.5]) == "▁█▄"
    long = sparkline([float(i) for i in range(1000)])
    assert len(long) <= 41
    assert long[0] == "▁"
    assert long[-1] == "█"
