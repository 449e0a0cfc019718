"""bits: a number format for every layer, by an integer linear program over a table of one's own."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.look import Csv, Json, check_form

if TYPE_CHECKING:
    from bitfront.experiments.bit_tables import BitTable


def bits(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="CSV or parquet: the columns layer, format, sensitivity, one for each cost, and perhaps group.",
        ),
    ],
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'COST <= NUMBER'",
            show_default=False,
            help="What a cost may sum up to over all layers; may be repeated.",
        ),
    ] = None,
    time_limit: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="After it, the best found so far is given.")
    ] = 60.0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Give each layer a number format: the smallest summed sensitivity within limits on costs.

    Layers of one group share a format. docs/bits.md says where sensitivities
    come from.
    """
    check_form(as_json, as_csv)
    from bitfront.experiments.bit_tables import allocation_facts, allocation_rows, parsed_limits, read_bit_table
    from bitfront.search.ilp import allocate_bits

    limits, read = parsed_limits(limit or []), read_bit_table(table)
    if read.unused:
        tell(f"not used, as they hold no numbers: {', '.join(read.unused)}")
    found = allocate_bits(read.sensitivity, read.costs, limits, read.groups, time_limit)
    if not found.optimal:
        tell(f"time was up: another allocation may be better, by {found.gap:.6g} at most")
    if as_json:
        put_json(allocation_facts(read, limits, found))
    elif as_csv:
        _put_csv(read, allocation_rows(read, found))
    else:
        _print(read, allocation_rows(read, found), {"sensitivity": found.sensitivity, **found.totals}, limits)


def _put_csv(read: BitTable, rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("layer", "format", "sensitivity", *read.costs)
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in rows)


def _print(
    read: BitTable, rows: Sequence[Mapping[str, Any]], totals: Mapping[str, float], limits: Mapping[str, float]
) -> None:
    from rich.text import Text

    from bitfront.experiments.tables import plain_table

    table, numbers = plain_table(), ("sensitivity", *read.costs)
    tied = len(set(read.groups)) < len(read.groups)
    for name in ("layer", *(["group"] if tied else []), "format"):
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    for row in rows:
        group = [row["group"].partition("\0")[0] or "-"] if tied else []
        cells = (row["layer"], *group, row["format"], *(f"{row[name]:.6g}" for name in numbers))
        table.add_row(*map(Text, cells))
    table.add_section()
    empty = [""] * (1 + tied)
    table.add_row(*map(Text, ("sum", *empty, *(f"{totals[name]:.6g}" for name in numbers))))
    if limits:
        shown = (f"{limits[name]:.6g}" if name in limits else "" for name in numbers)
        table.add_row(*map(Text, ("limit", *empty, *shown)))
    out().print(table)
