"""What `show` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bitfront.experiments.pace import duration
from bitfront.experiments.tables import local_time, status_text

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


def print_details(console: Console, values: Mapping[str, Any]) -> None:
    """The values of `details.details`, a section at a time."""
    section(console, values["id"], _head(values))
    section(console, "spec", rows(values["spec"]))
    if values["supernet"]:
        section(console, "supernet", _record(values["supernet"], ("id", "state", "space", "data", "path")))
    for predictor in values["predictors"]:
        section(console, f"{predictor['kind']} predictor", _record(predictor, ("id", "path")))
    for name, table in values["tables"].items():
        title = "device table" if values["table"] else f"device table of {name}"
        section(console, title, _record(table, ("id", "device", "path", "provenance")))
    if values["search"]["generations"]:
        section(console, "search", _search(values["search"], values["front"]))
    for export in values["exports"]:
        device = f" for {export['device']}" if export["device"] else ""
        section(console, f"{export['format']} of candidate {export['candidate_id']}{device}", _export(export))
    section(console, "files", values["files"].items())


def sparkline(values: list[float], width: int = _WIDTH) -> str:
    """A line of bars from the lowest to the highest value; empty where all are equal."""
    step = max(1, -(-len(values) // width))
    shown = [*values[:-1:step], values[-1]] if values else []
    low, span = min(shown, default=0.0), max(shown, default=0.0) - min(shown, default=0.0)
    return "".join(_BARS[int((value - low) / span * (len(_BARS) - 1))] for value in shown) if span else ""


def _head(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "status", status_text(values["status"])
    if values["reason"]:
        yield "reason", values["reason"]
    if values["stage"]:
        yield "stage", values["stage"]
    for name in ("created", "started", "finished"):
        if moment := values[f"{name}_at"]:
            yield name, local_time(datetime.fromisoformat(moment))
    if values["started_at"] and values["finished_at"]:
        begun, ended = (datetime.fromisoformat(values[f"{name}_at"]) for name in ("started", "finished"))
        yield "took", duration((ended - begun).total_seconds())
    if values["owner"]:
        yield "held by", f"process {values['owner']['pid']} on {values['owner']['host']}"


def _record(record: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield from rows({name: record[name] for name in names})
    yield from rows(record.get("metrics", {}))


def _search(search: Mapping[str, Any], front: Mapping[str, int]) -> Iterator[tuple[str, Any]]:
    history = search["hypervolume"]
    yield "generations", f"{search['generations']:,}{' of each island' if search['islands'] else ''}"
    yield "evaluations", f"{search['evaluations']:,}"
    yield "different candidates", f"{search['candidates']:,}"
    yield "hypervolume", f"{history[0]:.4g} to {history[-1]:.4g}  {sparkline(history)}"
    if search["reference"]:
        yield "reference point", _short(search["reference"])
    for number, island in enumerate(search["islands"], 1):
        yield f"island {number}", f"{island['scored']:,} scored, {island['on_front']} of them on the front"
    if front["measured"]:
        yield "front", f"{front['measured']} measured, {front['not_dominated']} of them not dominated"


def _export(export: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "path", export["path"]
    yield "sha256", export["sha256"]
    if export["top1_test"] is not None:
        yield "test top1", f"{export['top1_test']:.4f}"


def rows(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """One row a value. Of a list of records, such as a training's history, the last one stands for all."""
    for name, value in values.items():
        if isinstance(value, list) and value and isinstance(value[-1], Mapping):
            yield name, f"{len(value)} entries, the last: {_short(value[-1])}"
        else:
            yield name, _short(value)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "-"
    if isinstance(value, Mapping) and value:
        return " · ".join(f"{name} {_nested(item)}" for name, item in value.items())
    return "-" if value in (None, {}, "") else str(value)


def _nested(value: Any) -> str:
    return f"({_short(value)})" if isinstance(value, Mapping) and value else _short(value)


def section(console: Console, title: str, lines: Any) -> None:
    """A title, and below it the (name, value) pairs of ``lines``; nothing where there are none."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(Text(f"  {name}"), value if isinstance(value, Text) else Text(str(value)))
    if grid.row_count:
        console.print(Text(title, style="bold"))
        console.print(grid)
        console.print()
