"""Figures of a claim as tables: a row each, or a row for what several of them are of, and a column for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitfront.experiments.results.claim import Claim, Shown
from bitfront.experiments.results.numbers import figure_text, is_interval, number_with_interval

Row = Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table: its heading, and its rows."""

    head: Row
    rows: Sequence[Row]


def grids(claim: Claim, figures: Mapping[str, float]) -> Iterator[Grid]:
    """Those of all figures that a claim shows; what are no columns is the first one."""
    known = [each for each in claim.rows(figures) if not is_interval(each[0])]
    single = [
        (label, shown.prefix(figures, name) + figure_text(figures, name, shown.unit), shown.known)
        for name, label, shown in known
        if not shown.column
    ]
    if single:
        yield Grid(("figure", "found", "how it is known"), single)
    for table in dict.fromkeys(shown.table for _, _, shown in known if shown.column):
        yield _grid(
            table, [(name, shown) for name, _, shown in known if shown.column and shown.table == table], figures
        )


def _grid(table: str, shown: Sequence[tuple[str, Shown]], figures: Mapping[str, float]) -> Grid:
    columns = list(dict.fromkeys(_heading(each) for _, each in shown))
    cells: dict[str, dict[str, str]] = {}
    for name, each in shown:
        row = each.row_of(name)
        assert row is not None
        number = number_with_interval(figures, name, each.unit)
        cells.setdefault(row, {})[_heading(each)] = each.prefix(figures, name) + number
    return Grid(
        (table, *columns), [(row, *(found.get(one, "-") for one in columns)) for row, found in cells.items()]
    )


def _heading(shown: Shown) -> str:
    unit = f", {shown.unit.name}" if shown.unit.name else ""
    return f"{shown.column}{unit}<br>*{shown.known}*"
