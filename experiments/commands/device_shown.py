"""What `device show` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from bitfront.experiments.commands.shown import rows, section
from bitfront.experiments.device_tables import slots_table
from bitfront.experiments.device_words import TRUST, formats_in_words, kind_in_words, trust_in_words


def print_device(console: Console, values: Mapping[str, Any]) -> None:
    """The values of `device_facts.device_details`, and of `device_coverage.space_details` below ``space``."""
    section(console, values["name"], _head(values))
    section(console, "options", rows(values["options"]))
    space = values.get("space")
    if not space:
        section(console, "where its numbers come from", rows(values["provenance"]))
    section(console, "tables", map(_table_file, values["tables"]))
    if space:
        section(console, f"space {space['name']}", _space(space))
        console.print(slots_table(space))
        console.print()
        section(console, "where these numbers come from", _table(space["table"]))


def _head(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "how", kind_in_words(values["kind"])
    yield "what", values["about"]
    yield "costs", ", ".join(values["costs"])
    yield "executes", formats_in_words(values["formats"])


def _table_file(table: Mapping[str, Any]) -> tuple[str, str]:
    told = [table["space"] and f"space {table['space']}", table["date"], table.get("problem")]
    words = ", ".join([*filter(None, told), *(["unfinished"] if table["unfinished"] else [])])
    return table["path"], words


def _space(space: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    all_, here = space["networks"], space["available_networks"]
    yield "networks", f"{all_:.3g}, of which {here:.3g} can run here"
    yield "different blocks", f"{space['unique_blocks']:,}"
    if space["estimated_blocks"]:
        yield "estimated blocks", f"{space['estimated_blocks']:,}, from the nearest ones that are known"
    for name in ("cheapest", "median", "dearest"):
        if space[name]:
            yield f"{name} block", _costed(space["cost"], space[name])
    borders = space["borders"]
    if borders["count"]:
        dearest = _costed(space["cost"], borders["dearest"])
        yield "borders between formats", f"{borders['count']} that cost something, the dearest {dearest}"


def _costed(cost: str, found: list[Any]) -> str:
    key, value = found
    name, _, unit = cost.rpartition("_")
    return f"{name} {value:.4g} {unit.replace('mj', 'mJ')}: {key}"


def _table(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if table["path"]:
        yield "path", table["path"]
    yield from rows({name: value for name, value in table["provenance"].items() if name not in TRUST})
    for cost, (offset, scale) in table["correction"].items():
        yield f"{cost} of a network", f"{offset:.4g} + {scale:.4g} x the sum of its blocks and borders"
    for line in trust_in_words(table["provenance"]):
        yield "networks", line
