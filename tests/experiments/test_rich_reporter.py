"""What a person sees of a run, at a terminal and in a file."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from bitfront.experiments.pace import Pace, duration
from bitfront.experiments.rich_reporter import RichReporter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Seen:
    """A console and what was written to it."""

    def __init__(self, terminal: bool) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=100, color_system=None)

    @property
    def text(self) -> str:
        """Without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue()).replace("\r", "\n")

    def wait_for(self, text: str) -> None:
        """Bars are drawn a few times a second, by real time."""
        deadline = time.monotonic() + 10
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.splitlines() if line.strip()]


class TestLines:
    def test_at_most_every_ten_seconds_and_at_the_end(self) -> None:
        seen, clock = Seen(terminal=False), Clock()
        with RichReporter(seen.console, clock) as reporter:
            reporter.stage("3 measured samples")
            listen = reporter.progress("measuring")
            for done in range(1, 101):
                clock.now += 0.5
                listen(done, 100)
        assert seen.lines[0] == "▸ 3 measured samples"
        assert seen.lines[1:] == [
            "measuring: 20 of 100, 2.0/s, 40 s left",
            "measuring: 40 of 100, 2.0/s, 30 s left",
            "measuring: 60 of 100, 2.0/s, 20 s left",
            "measuring: 80 of 100, 2.0/s, 10 s left",
            "measuring: 100 of 100, 2.0/s, in 50 s",
        ]
        assert "\x1b" not in seen.file.getvalue()

    def test_long_lines_and_brackets_stay_as_they_are(self) -> None:
        seen = Seen(terminal=False)
        with RichReporter(seen.console) as reporter:
            reporter.say("[red]" + "x" * 300)
        assert seen.lines == ["[red]" + "x" * 300]


class TestBars:
    def test_count_throughput_and_time_left_then_one_line(self) -> None:
        seen, clock = Seen(terminal=True), Clock()
        with RichReporter(seen.console, clock) as reporter:
            listen = reporter.progress("measuring")
            for done in range(1, 30):
                clock.now += 1.0
                listen(done, 30)
            reporter.say("said beside it")
            seen.wait_for("29/30 1.0/s, 1.0 s left")
            clock.now += 1.0
            listen(30, 30)
        assert "measuring: 30 in 30 s, 1.0/s" in seen.lines
        assert "said beside it" in seen.lines

    def test_short_work_leaves_no_line(self) -> None:
        seen, clock = Seen(terminal=True), Clock()
        with RichReporter(seen.console, clock) as reporter:
            reporter.progress("measuring")(5, 5)
        assert "measuring: 5" not in seen.text

    def test_the_cursor_comes_back_when_work_breaks_off(self) -> None:
        seen = Seen(terminal=True)

        def breaks_off() -> None:
            with RichReporter(seen.console) as reporter:
                reporter.progress("measuring")(1, 5)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            breaks_off()
        hidden, shown = seen.file.getvalue().rfind("\x1b[?25l"), seen.file.getvalue().rfind("\x1b[?25h")
        assert -1 < hidden < shown

    def test_a_new_stage_clears_what_was_not_finished(self) -> None:
        seen = Seen(terminal=True)
        with RichReporter(seen.console) as reporter:
            first = reporter.progress("first")
            first(1, 5)
            reporter.stage("next")
            reporter.progress("second")(1, 5)
            first(2, 5)
            first(5, 5)
        assert "▸ next" in seen.lines


class TestPace:
    def test_what_was_resumed_says_nothing_about_the_speed(self) -> None:
        pace = Pace(300, now=10.0)
        assert pace.throughput() == ""
        assert pace.left(400, 10.0) == ""
        pace.heard(310, 15.0)
        assert pace.throughput() == "2.0/s"
        assert pace.left(400, 15.0) == "45 s left"

    def test_time_left_goes_down_while_an_item_is_worked_on(self) -> None:
        pace = Pace(0, 0.0)
        pace.heard(2, 20.0)
        assert [pace.left(4, now) for now in (20.0, 25.0, 99.0)] == ["20 s left", "15 s left", "0.0 s left"]
        assert pace.throughput() == "10 s each"

    def test_units_fit_the_speed(self) -> None:
        pace = Pace(0, 0.0)
        pace.heard(1, 4.0)
        assert pace.throughput() == "4.0 s each"
        pace.heard(1234567, 10.0)
        assert pace.throughput() == "123,457/s"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.04, "0.0 s"), (9.94, "10 s"), (9.4, "9.4 s"), (59.7, "1 min 00 s"), (61, "1 min 01 s"),
            (3599.9, "1 h 00 min"), (7500, "2 h 05 min"), (360000, "100 h 00 min"),
        ],
    )  # fmt: skip
    def test_duration(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text
