"""How the runs of benchmarks ended, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from bitfront.experiments.pace import duration
from bitfront.experiments.results.record import Record
from bitfront.experiments.tables import plain_table


def outcome_table(records: Sequence[Record]) -> Table:
    """One line a benchmark."""
    table = plain_table()
    for column in ("benchmark", "took", "memory, MiB", "goals"):
        table.add_column(column, justify="right" if column in ("took", "memory, MiB") else "left")
    for record in records:
        memory = f"{record.peak_memory_bytes / 2**20:,.0f}"
        table.add_row(record.bench, duration(record.seconds), memory, _goals(record))
    return table


def _goals(record: Record) -> Text:
    if record.found is None:
        return Text("failed", "red")
    missed = [goal.figure for goal in record.found.goals if not goal.holds]
    return Text(f"missed: {', '.join(missed)}", "yellow") if missed else Text("all hold", "green")
