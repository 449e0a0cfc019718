"""Progress for a person: bars at a terminal, plain lines where stderr is a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from bitfront.experiments.pace import Pace, duration
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.progress import Progress

Clock = Callable[[], float]

_LINE_EVERY_SECONDS = 10.0
_LINE_FROM_SECONDS = 2.0


@final
class RichReporter(Reporter):
    """Tells a person at ``console``; use it as a context manager, so that no bar is left on the screen.

    At a terminal, long work has a bar with its count, throughput and time left; work that took two seconds or more
    leaves one line. Elsewhere it gives a line at most every ten seconds, and one at its end.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._bars = _bars(console, clock) if console.is_terminal else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def stage(self, title: str) -> None:
        """The title, set off from what went before."""
        self._clear()
        self._console.print(Text(f"▸ {title}", style="bold cyan"), soft_wrap=True)

    def say(self, text: str) -> None:
        """One line, above the bars."""
        self._console.print(Text(f"  {text}"), soft_wrap=True)

    def progress(self, label: str) -> Progress:
        """A bar, or lines."""
        if self._bars is None:
            return _Lines(self.say, label, self._clock)
        return _Bar(self._bars, self.say, label, self._clock)

    def _clear(self) -> None:
        if self._bars is not None:
            for task in self._bars.task_ids:
                self._bars.remove_task(task)
            self._bars.stop()


class _Bar:
    """One bar; it comes with the first call and goes with the last."""

    def __init__(self, bars: Bars, say: Callable[[str], None], label: str, clock: Clock) -> None:
        self._bars = bars
        self._say = say
        self._label = label
        self._clock = clock
        self._begun = clock()
        self._pace: Pace | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._pace is None:
            self._pace = Pace(done, self._clock())
        self._pace.heard(done, self._clock())
        if self._task is None or self._task not in self._bars.task_ids:
            self._bars.start()
            self._task = self._bars.add_task(self._label, total=total, completed=done, pace=self._pace)
        self._bars.update(self._task, completed=done, total=total)
        if done >= total:
            self._finish(self._task, self._pace, done)

    def _finish(self, task: TaskID, pace: Pace, done: int) -> None:
        self._bars.remove_task(task)
        if not self._bars.task_ids:
            self._bars.stop()
        now = self._clock()
        if now - self._begun >= _LINE_FROM_SECONDS:
            took = f"{self._label}: {done} in {duration(now - self._begun)}"
            self._say(_joined(took, pace.throughput()))


class _Lines:
    """Lines in place of a bar."""

    def __init__(self, say: Callable[[str], None], label: str, clock: Clock) -> None:
        self._say = say
        self._label = label
        self._clock = clock
        self._begun = self._last = clock()
        self._pace: Pace | None = None

    def __call__(self, done: int, total: int) -> None:
        now = self._clock()
        if self._pace is None:
            self._pace = Pace(done, now)
        self._pace.heard(done, now)
        if done < total and now - self._last < _LINE_EVERY_SECONDS:
            return
        self._last = now
        end = self._pace.left(total, now) if done < total else f"in {duration(now - self._begun)}"
        self._say(_joined(f"{self._label}: {done} of {total}", self._pace.throughput(), end))


class _PaceColumn(ProgressColumn):
    """Throughput and time left of a task, whose ``pace`` field is its `Pace`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def render(self, task: Task) -> Text:
        """One cell."""
        pace: Pace = task.fields["pace"]
        left = pace.left(int(task.total or 0), self._clock())
        return Text(_joined(pace.throughput(), left), style="dim")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _bars(console: Console, clock: Clock) -> Bars:
    return Bars(
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _PaceColumn(clock),
        console=console,
        transient=True,
    )
