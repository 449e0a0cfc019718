"""Tables that people read. Programs read JSON or CSV instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_ROOMY = 100
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


def front_table(rows: Sequence[Mapping[str, Any]], objectives: Sequence[str], width: int = _ROOMY) -> Table:
    """One line a candidate, as `rows.front_rows` gives them; dominated ones are dim and marked.

    Rows that have a ``device`` are the networks of candidates, one a device. ``width`` is that of the terminal:
    where it is a usual narrow one, columns stand closer, so that none is cut off.
    """
    table = plain_table()
    table.padding = (0, int(width >= _ROOMY), 0, 0)
    table.add_column("candidate", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", min_width=12)
    by_device = bool(rows) and "device" in rows[0]
    if by_device:
        table.add_column("device", no_wrap=True)
    table.add_column("bits", no_wrap=True)
    columns = _columns(rows, objectives)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            f"{'*' if row['dominated'] else ''}{row['candidate']}",
            row["architecture"].replace("|", "| "),  # breaks between stages
            *([row["device"]] if by_device else []),
            row["bits"],
            *(column.text(row) for column in columns),
        ]
        table.add_row(*map(Text, cells), style="dim" if row["dominated"] else "")
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


@dataclass(frozen=True, slots=True)
class _Column:
    """Values of a metric, predicted or measured, in a unit."""

    title: str
    kind: str
    metric: str
    factor: float = 1.0
    form: str = "{:.4g}"

    def text(self, row: Mapping[str, Any]) -> str:
        return _number(row[self.kind].get(self.metric), self.factor, self.form)


def _columns(rows: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> list[_Column]:
    """Accuracy, latency on each device, size, then what else is an objective."""
    latencies = [name for name in (rows[0]["predicted"] if rows else ()) if _base(name) == "latency_ms"]
    columns = [
        _Column("top1\npred", "predicted", "top1", 1.0, "{:.4f}"),
        _Column("top1\nval", "measured", "top1", 1.0, "{:.4f}"),
        _Column("top1\ntest", "measured", "top1_test", 1.0, "{:.4f}"),
    ]
    for name in latencies or ["latency_ms"]:
        columns.append(_Column(_title("ms", "pred", name), "predicted", name))
        # Of several devices, those that are not at hand have no column of dashes.
        if len(latencies) < 2 or any(row["measured"].get(name) is not None for row in rows):
            columns.append(_Column(_title("ms", "meas", name), "measured", name))
    columns.append(_Column("size\nkB", "predicted", "size_bytes", 1e-3, "{:,.1f}"))
    for name in objectives:
        if _base(name) not in _ALWAYS_SHOWN:
            title, factor, form = _UNITS[_base(name)]
            columns.append(_Column(_title(*title.partition("\n")[::2], name), "predicted", name, factor, form))
    return columns


def _base(metric: str) -> str:
    return metric.partition("@")[0]


def _title(first: str, second: str, metric: str) -> str:
    """Two lines; of one device among several, its name and what they say in one."""
    device = metric.partition("@")[2]
    return f"{device}\n{first} {second}".rstrip() if device else f"{first}\n{second}".rstrip()


def _number(value: float | None, factor: float, form: str) -> str:
    return _NOTHING if value is None else form.format(value * factor)


def plain_table(header: bool = True) -> Table:
    """A table without lines but one below its head."""
    return Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), show_header=header, header_style="bold")
