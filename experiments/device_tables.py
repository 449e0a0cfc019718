"""Tables about devices that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bitfront.experiments.device_words import formats_in_words
from bitfront.experiments.tables import plain_table

_COSTS = {"latency_ms": "latency\nms", "energy_mj": "energy\nmJ"}


def devices_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a device, as `device_facts.listed_devices` gives them."""
    table = plain_table()
    table.add_column("device", no_wrap=True)
    table.add_column("how", no_wrap=True)
    table.add_column("costs", overflow="fold")
    table.add_column("executes", overflow="fold")
    table.add_column("tables", justify="right")
    for row in rows:
        if row["problem"]:
            table.add_row(Text(row["name"]), Text("not here", style="yellow"), "", Text(row["problem"]), "")
        else:
            cells = (row["kind"], ", ".join(row["costs"]), formats_in_words(row["formats"]))
            table.add_row(*map(Text, (row["name"], *cells, str(len(row["tables"])))))
    return table


def coverage_table(slots: Mapping[str, tuple[int, int]]) -> Table:
    """One line a slot: combinations that are covered, of all."""
    table = plain_table()
    table.add_column("slot", no_wrap=True)
    table.add_column("combinations\nin its formats", justify="right", no_wrap=True)
    table.add_column("covered", justify="right", no_wrap=True)
    table.add_column("not covered", justify="right", no_wrap=True)
    for name, (covered, every) in slots.items():
        counts = (f"{every:,}", f"{covered:,}", f"{every - covered:,}")
        table.add_row(Text(name), *counts, style="yellow" if covered < every else "")
    return table


def slots_table(space: Mapping[str, Any]) -> Table:
    """One line a slot, as `device_coverage.space_details` gives them."""
    table = plain_table()
    unit = _COSTS[space["cost"]].replace("\n", " in ")
    table.add_column("slot", no_wrap=True)
    table.add_column("combinations\navailable", justify="right", no_wrap=True)
    table.add_column("different\nblocks", justify="right", no_wrap=True)
    for title in ("cheapest", "median", "dearest"):
        table.add_column(f"{title}\n{unit if title == 'median' else ''}", justify="right", no_wrap=True)
    for slot in space["slots"]:
        of = f"{slot['available']:,} of {slot['combinations']:,}"
        costs = [f"{slot[name][1]:.4g}" if slot[name] else "-" for name in ("cheapest", "median", "dearest")]
        style = "yellow" if slot["available"] < slot["combinations"] else ""
        table.add_row(Text(slot["slot"]), Text(of, style=style), f"{slot['blocks']:,}", *map(Text, costs))
    return table
