"""What work costs: seconds, processor seconds, and energy, as far as the machine tells it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from bitfront.experiments.reporter import Reporter
from bitfront.supernet.progress import Progress

WATTS_PER_CORE = 12.0
"""A core at work, where nothing is measured: what Green Algorithms takes for any CPU (Lannelongue et al., Advanced
Science 8, 2021, table ``TDP_cpu`` of the tool: model "Any", 12 W a core). Memory and cooling are left out."""
_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Spent:
    """Seconds of the wall clock, of the processor (children that have ended included), and joules."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, self.joules + other.joules
        )


@dataclass(frozen=True)
class _Reading:
    wall: float
    cpu: float
    microjoules: tuple[int, ...]


class Meter:
    """Tells what is spent between two readings.

    Energy is that of RAPL's packages where all of them can be read: that of the whole processor, others' work and
    idling included. Else it is estimated as `WATTS_PER_CORE` times the processor seconds.
    """

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        packages = sorted(path for path in powercap.glob("intel-rapl:*") if path.name.count(":") == 1)
        try:
            self._packages = [
                (path / "energy_uj", int((path / "max_energy_range_uj").read_text())) for path in packages
            ]
            self.read()
        except (OSError, ValueError):  # often root's alone
            self._packages = []

    @property
    def is_measured(self) -> bool:
        """Whether energy is measured, and not estimated."""
        return bool(self._packages)

    @property
    def words(self) -> str:
        """Where joules are from."""
        if self.is_measured:
            return "Energy is measured by RAPL, of the whole processor with all that runs on it."
        return f"Energy is estimated: {WATTS_PER_CORE:g} W times processor seconds, as RAPL can not be read here."

    def read(self) -> _Reading:
        """The clocks and counters as they are now."""
        times = os.times()
        return _Reading(
            time.perf_counter(), sum(times[:4]), tuple(int(path.read_text()) for path, _ in self._packages)
        )

    def since(self, before: _Reading) -> Spent:
        """What was spent since ``before``; a counter may have begun anew once."""
        now = self.read()
        cpu = now.cpu - before.cpu
        if not self._packages:
            return Spent(now.wall - before.wall, cpu, WATTS_PER_CORE * cpu)
        counted = zip(now.microjoules, before.microjoules, self._packages, strict=True)
        joules = sum((end - begin) % (most + 1) for end, begin, (_, most) in counted) / 1e6
        return Spent(now.wall - before.wall, cpu, joules)


@final
class StageClock(Reporter):
    """Tells another listener, and keeps what each stage of a run cost, from its beginning to the next one's."""

    def __init__(self, listener: Reporter, meter: Meter) -> None:
        self._listener, self._meter = listener, meter
        self._stage: str | None = None
        self._begun = meter.read()
        self.spent: dict[str, Spent] = {}

    @contextmanager
    def running(self) -> Iterator[Self]:
        """A run; its last stage ends with it, and what comes before its first one belongs to that."""
        self._stage, self._begun = None, self._meter.read()
        yield self
        self._end()

    def stage(self, title: str) -> None:
        """The stage before has ended."""
        if self._stage is not None:
            self._end()
        self._stage = title
        self._listener.stage(title)

    def say(self, text: str) -> None:
        """Tell the other one."""
        self._listener.say(text)

    def progress(self, label: str) -> Progress:
        """The other one's."""
        return self._listener.progress(label)

    def _end(self) -> None:
        if self._stage is not None:
            self.spent[self._stage] = self.spent.get(self._stage, Spent()) + self._meter.since(self._begun)
        self._begun = self._meter.read()
