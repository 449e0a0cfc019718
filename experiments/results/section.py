"""What the page says of one claim, in Markdown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitfront.experiments.benchmarks.result import Goal, judged
from bitfront.experiments.pace import duration
from bitfront.experiments.results.claim import Claim, Shown, unlabelled
from bitfront.experiments.results.grid import Row, grids
from bitfront.experiments.results.numbers import goal_texts, half_interval, is_within_interval
from bitfront.experiments.results.record import Found, Record


def verdict(record: Record | None) -> str:
    """How the goals of a benchmark stand, in few words."""
    if record is None:
        return "not run"
    if record.found is None:
        return "**FAILED**"
    goals = record.found.goals
    missed = sum(not goal.holds for goal in goals)
    if not goals:
        return "**nothing was judged**"
    return (
        f"**MISSED**: {missed} of {len(goals)} goals" if missed else f"holds: {len(goals)} of {len(goals)} goals"
    )


def published_verdict(claim: Claim, record: Record | None) -> str:
    """Whether what papers report was reached; empty where none report anything."""
    if not any(shown.published for shown in claim.shown):
        return "-"
    if record is None or record.found is None:
        return "-"
    reached = [each.is_reached for each in _published(claim, record.found)]
    return "reached" if all(reached) else f"**not reached**: {reached.count(False)} of {len(reached)} figures"


def section(claim: Claim, record: Record | None, pictures: str) -> Iterator[str]:
    """Lines about a claim; ``pictures``: the folder of pictures as seen from the page."""
    yield from (f'<a id="{claim.name}"></a>', "", f"## {claim.heading}", "")
    yield from (f"**Claim:** {claim.statement}", "", f"**Source:** {claim.source}.", "")
    if record is None:
        yield from (f"Not run: `bitfront bench {claim.bench} --seeds {claim.seeds}` tests it.", "")
        return
    yield from (f"**Verdict:** {verdict(record)}.", "")
    if record.found is None:
        yield from ("The benchmark failed:", "", *_fenced(record.error or ""), "")
    else:
        yield from _found(claim, record.found)
        for name in record.pictures:
            caption = name.removesuffix(".png").removeprefix(f"{record.bench}-").replace("_", " ")
            yield from (f"![{claim.heading}: {caption}]({pictures}/{name})", "")
    yield from _run(record)


def _found(claim: Claim, found: Found) -> Iterator[str]:
    yield from _table(
        ("goal", "asked", "found", ""),
        [_goal_row(claim, goal, found.figures) for goal in _missed_first(found.goals)],
    )
    yield from (*(f"- {_plain(note)}" for note in found.notes), *([""] if found.notes else []))
    published = [each.row for each in _published(claim, found)]
    yield from _table(("published elsewhere", "there", "here", ""), published)
    for grid in grids(claim, found.figures):
        yield from _table(grid.head, grid.rows)


def _goal_row(claim: Claim, goal: Goal, figures: Mapping[str, float]) -> Row:
    label, shown = claim.row(goal.figure) or unlabelled(goal.figure)
    asked, found = goal_texts(goal, shown.unit, half_interval(figures, goal.figure))
    told = "holds" if goal.holds else "**MISSED**"
    within = ", within ±" if is_within_interval(figures, goal) else ""
    return (label, asked, shown.prefix(figures, goal.figure) + found, told + within)


def _missed_first(goals: Sequence[Goal]) -> list[Goal]:
    return sorted(goals, key=lambda goal: goal.holds)


@dataclass(frozen=True, slots=True)
class _Published:
    """What a paper reports of a figure, held against what was found; ``goal`` is None where nothing was."""

    label: str
    shown: Shown
    goal: Goal | None

    @property
    def is_reached(self) -> bool:
        return self.goal is not None and self.goal.holds

    @property
    def row(self) -> Row:
        known = self.goal or Goal(self.shown.figure, self.shown.published, math.nan, False)
        there, here = goal_texts(known, self.shown.unit)
        told = "reached" if self.is_reached else "**not reached**"
        return (self.label, there, "no figure" if self.goal is None else here, told)


def _published(claim: Claim, found: Found) -> list[_Published]:
    """Rows of the claim that papers tell of; those without any figure are no success."""
    rows = claim.rows(found.figures)
    told = [
        _Published(label, shown, judged(found.figures, f"{name} {shown.published}"))
        for name, label, shown in rows
        if shown.published
    ]
    seen = [shown for _, _, shown in rows]
    absent = [shown for shown in claim.shown if shown.published and shown not in seen]
    return told + [_Published(shown.label_of_any, shown, None) for shown in absent]


def _run(record: Record) -> Iterator[str]:
    """What it takes to do it again, and what it was done with."""
    cpu, *_ = machine = _machine(record)
    seeds = f"{_seeds(record)} {'seed' if _seeds(record) == 1 else 'seeds'}"
    told = html.escape(f", {seeds}, {duration(record.seconds)}, {cpu}", quote=False)
    yield from (f"<details><summary><code>{html.escape(record.command)}</code>{told}</summary>", "")
    yield from (*_table(("run", ""), _run_rows(record, machine)), "</details>", "")


def _seeds(record: Record) -> int:
    return record.asked_seeds if record.found is None else record.found.seeds


def _machine(record: Record) -> list[str]:
    machine = record.conditions.machine
    memory = [f"{machine['memory_bytes'] / 2**30:.1f} GiB"] if machine["memory_bytes"] else []
    system = str(machine["system"])
    return [str(machine["cpu"]), f"{machine['cores']} cores", *memory, system, f"Python {machine['python']}"]


def _run_rows(record: Record, machine: Sequence[str]) -> Iterator[Row]:
    conditions = record.conditions
    memory = f"{record.peak_memory_bytes / 2**20:,.0f} MiB"
    yield "command", f"`{record.command}`"
    yield "seeds", str(_seeds(record))
    yield "begun", f"{record.started_at:%Y-%m-%d %H:%M} UTC"
    yield "took", f"{duration(record.seconds)} ({duration(record.cpu_seconds)} of processor), at most {memory}"
    if record.jobs > 1:
        others = "1 other benchmark" if record.jobs == 2 else f"{record.jobs - 1} other benchmarks"
        yield "beside it", f"up to {others} at a time"
    yield "machine", ", ".join(machine)
    yield "instructions", ", ".join(conditions.machine["isa"])
    yield "code", f"commit {conditions.commit or 'unknown'}, sources {conditions.sources[:12]}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    for name, digest in conditions.at_hand.items():
        yield name, digest[:12]
    if record.kept:
        yield "kept, although", "; ".join(record.kept)


def _plain(text: str) -> str:
    """A line that says in Markdown what it says, whatever is in it."""
    return re.sub(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w))", r"\\\1", _line_of(text))


def _table(head: Row, some: Iterable[Row]) -> Iterator[str]:
    rows = list(some)
    if rows:
        yield from (_line(head), _line(["---"] * len(head)), *map(_line, rows), "")


def _line(cells: Row) -> str:
    return f"| {' | '.join(_cell(text) for text in cells)} |"


def _cell(text: str) -> str:
    return _line_of(text).replace("|", "\\|")


def _line_of(text: str) -> str:
    return " ".join(text.split())


def _fenced(text: str) -> Iterator[str]:
    """As it is, whatever is in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    yield from (f"{fence}text", *text.splitlines(), fence)
