"""Tables that people read. Programs read JSON or CSV instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bitfront.experiments.pace import duration

if TYPE_CHECKING:
    from bitfront.experiments.benchmarks.result import BenchResult
    from bitfront.experiments.doctor import Check
    from bitfront.experiments.store.records import Experiment

_STATUS_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "FAILED": "red",
    "INTERRUPTED": "yellow",
    "CANCELLING": "yellow",
}
_MARKS = {"fine": ("✓", ""), "doubtful": ("!", "yellow"), "broken": ("✗", "red")}
_NOTHING = "-"
_LONGEST_REASON = 70
_ALWAYS_SHOWN = ("top1", "latency_ms", "size_bytes")
_UNITS = {
    "energy_mj": ("energy\nmJ", 1.0, "{:.4g}"),
    "peak_memory_bytes": ("memory\nkB", 1e-3, "{:,.1f}"),
    "macs": ("MMACs", 1e-6, "{:,.3g}"),
    "bitops": ("Mbitops", 1e-6, "{:,.4g}"),
}


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_STATUS_STYLES.get(status, ""))


def experiments_table(experiments: Iterable[Experiment]) -> Table:
    """One line an experiment."""
    table = plain_table()
    table.add_column("id", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("created", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("where it stands")
    for one in experiments:
        cells = (local_time(one.created_at), took(one), _stands(one))
        table.add_row(Text(one.id), status_text(one.status.value), *(Text(cell) for cell in cells))
    return table


def front_table(rows: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> Table:
    """One line a candidate, as `rows.front_rows` gives them; dominated ones are dim and marked."""
    others = [name for name in objectives if name.partition("@")[0] not in _ALWAYS_SHOWN]
    latencies = _latencies(rows)
    table = plain_table()
    table.add_column("candidate", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", min_width=18)
    table.add_column("bits", no_wrap=True)
    titles = ["top1\npred", "top1\nval", "top1\ntest", *(title for title, _, _ in latencies), "size\nkB"]
    for title in (*titles, *map(_title, others)):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [Text(cell) for cell in _front_cells(row, latencies, others)]
        table.add_row(*cells, style="dim" if row["dominated"] else "")
    return table


def front_notes(rows: Sequence[Mapping[str, Any]], hidden: int, batch: int | None = None) -> list[str]:
    """What a reader of `front_table` needs to know; ``batch`` is the number of images in one call."""
    notes = [
        "architecture: r input resolution, then kernel w hidden channels of each block, | between stages",
        "bits: mean over weights, w of weights, a of activations; kB is 1000 bytes",
        "top1 is a fraction: predicted, then measured on validation and on test images",
    ]
    if batch is not None:
        notes.append(f"latency and energy: of one call with {batch} image{'s' * (batch != 1)}")
    if any(row["dominated"] for row in rows):
        notes.append("* dominated: another measured candidate is at least as good in every objective")
    notes += [f"candidate {row['candidate']} was not measured: {row['error']}" for row in rows if row["error"]]
    if hidden:
        notes.append(f"{hidden} more turned out to be dominated when measured: --all shows them too")
    return notes


def bench_table(result: BenchResult) -> Table:
    """One line a figure, with its goal where it has one."""
    goals = {goal.figure: goal for goal in result.goals}
    table = plain_table()
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("goal")
    table.add_column("")
    for name, value in result.figures.items():
        goal = goals.get(name)
        holds = Text("") if goal is None else Text("holds", "green") if goal.holds else Text("missed", "red")
        table.add_row(Text(name), f"{value:.4g}", Text(goal.goal if goal else ""), holds)
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """One line a check, in its groups."""
    table = plain_table(header=False)
    table.add_column("")
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    group = ""
    for check in checks:
        if group and check.group != group:
            table.add_section()
        name = Text(check.group if check.group != group else "", style="bold")
        mark, style = _MARKS[check.state]
        table.add_row(name, Text(f"{mark} {check.name}", style=style), Text(check.value, style=style))
        group = check.group
    return table


def took(experiment: Experiment) -> str:
    """From its first start to its end, or to now while it runs; empty where it never started."""
    if experiment.started_at is None:
        return ""
    if experiment.finished_at is None and not experiment.status.is_held:
        return ""
    end = experiment.finished_at or datetime.now(UTC)
    return duration((end - experiment.started_at).total_seconds())


def local_time(moment: datetime) -> str:
    """In the time zone of this machine, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _stands(experiment: Experiment) -> str:
    """The stage it is at, and the beginning of why it ended; `show` has the rest."""
    if experiment.status.value == "COMPLETED":
        return ""
    reason = " ".join(experiment.reason.split())
    parts = [experiment.stage, reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"]
    return ": ".join(part for part in parts if part)


def _latencies(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(Title, kind, metric) of the columns of latencies; of several devices, measured ones where there are any."""
    names = [name for name in (rows[0]["predicted"] if rows else ()) if name.startswith("latency_ms@")]
    if not names:
        return [("ms\npred", "predicted", "latency_ms"), ("ms\nmeas", "measured", "latency_ms")]
    columns = []
    for name in names:
        device = name.partition("@")[2]
        columns.append((f"{device}\nms pred", "predicted", name))
        if any(row["measured"].get(name) is not None for row in rows):
            columns.append(("\nms meas", "measured", name))
    return columns


def _title(metric: str) -> str:
    base, _, device = metric.partition("@")
    title = _UNITS[base][0]
    return f"{device}\n{title.replace(chr(10), ' ')}" if device else title


def _front_cells(
    row: Mapping[str, Any], latencies: Sequence[tuple[str, str, str]], others: Sequence[str]
) -> list[str]:
    predicted, measured = row["predicted"], row["measured"]
    return [
        f"{'*' if row['dominated'] else ''}{row['candidate']}",
        row["architecture"].replace("|", "| "),  # breaks between stages
        row["bits"],
        _number(predicted.get("top1"), 1.0, "{:.4f}"),
        _number(measured.get("top1"), 1.0, "{:.4f}"),
        _number(measured.get("top1_test"), 1.0, "{:.4f}"),
        *(_number(row[kind].get(name), 1.0, "{:.4g}") for _, kind, name in latencies),
        _number(predicted.get("size_bytes"), 1e-3, "{:,.1f}"),
        *(_number(predicted.get(name), *_UNITS[name.partition("@")[0]][1:]) for name in others),
    ]


def _number(value: float | None, factor: float, form: str) -> str:
    return _NOTHING if value is None else form.format(value * factor)


def plain_table(header: bool = True) -> Table:
    """A table without lines but one below its head."""
    return Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), show_header=header, header_style="bold")
