"""Results of made-up benchmarks, and programs that stand for these."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.results.asked import Asked
from bitfront.experiments.results.claim import PERCENT, TIMES, Claim, Shown
from bitfront.experiments.results.conditions import Conditions
from bitfront.experiments.results.record import Found, Record, picture_digest
from bitfront.experiments.results.runner import Runner

PNG = b"\x89PNG\r\n\x1a\n..."
MACHINE = {
    "system": "Linux 6.1 x86_64",
    "python": "3.11.2",
    "cpu": "A | CPU",
    "isa": ["avx", "avx2"],
    "cores": 2,
    "memory_bytes": 8 * 2**30,
}
HERE = Conditions(sources="ab" * 32, commit="0123456789ab", versions={"bitfront": "0.1.0"}, machine=MACHINE)

CLAIM = Claim(
    "first",
    "The first one is better",
    "The first one is twice as good.",
    "[A paper](https://example.org)",
    "first",
    shown=(
        Shown("{device}_ratio", "{device}: ratio", TIMES, "measured", ">= 2"),
        Shown("{device}_top1_{n}", "{device}: accuracy {n}", PERCENT, "predicted"),
    ),
)
OTHER = Claim("second", "The second one is there", "It is there.", "ours", "second")

RecordOf = Callable[..., Record]


@pytest.fixture
def here() -> Conditions:
    return HERE


@pytest.fixture
def claims() -> tuple[Claim, ...]:
    return CLAIM, OTHER


@pytest.fixture
def record_of() -> RecordOf:
    """A result of figures and goals."""

    def make(figures: Mapping[str, float], goals: Sequence[str] = (), **changed: Any) -> Record:
        result = BenchResult.of("first", 3, figures, goals, notes=["One | two\nis left out."])
        values: dict[str, Any] = {
            "bench": "first",
            "quick": False,
            "command": "bitfront bench first --seeds 3",
            "asked_seeds": 3,
            "conditions": HERE,
            "started_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "seconds": 12.5,
            "cpu_seconds": 11.0,
            "peak_memory_bytes": 300 * 2**20,
            "found": Found(seeds=3, figures=result.figures, goals=result.goals, notes=result.notes),
        }
        return Record(**{**values, **changed})

    return make


@pytest.fixture
def kept(tmp_path: Path, record_of: RecordOf) -> Path:
    """A folder that holds a result of `first` with a picture."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "first-fronts.png").write_bytes(PNG)
    figures = {"bitfusion_ratio": 1.5, "bitfusion_ratio_half_interval": 0.25, "bitfusion_top1_1": 0.875}
    goals = ["bitfusion_ratio >= 1", "bitfusion_top1_1 >= 0.9"]
    record_of(figures, goals, pictures={"first-fronts.png": picture_digest(PNG)}).write(folder)
    return folder


_WORKS = """
import json, pathlib, sys
output = pathlib.Path(sys.argv[1])
pathlib.Path(sys.argv[2]).open("a").write("x")
print("working", file=sys.stderr, flush=True)
{body}
goal = {{"figure": "gain", "goal": ">= 1", "value": 2.0, "holds": True}}
output.write_text(json.dumps({{"seeds": 3, "figures": {{"gain": 2.0}}, "goals": [goal], "notes": [{note}]}}))
(output.parent / (output.stem + "-front.png")).write_bytes({png!r})
"""


@dataclass
class Fakes:
    """Benchmarks that are Python programs: ``bodies`` by name, what each does before it writes its result."""

    folder: Path
    bodies: dict[str, str] = field(default_factory=dict)
    conditions: Conditions = HERE
    said: list[str] = field(default_factory=list)
    note: str = "so it is"

    def program(self, asked: Asked, output: Path) -> list[str]:
        source = _WORKS.format(body=self.bodies.get(asked.bench, ""), note=repr(self.note), png=PNG)
        return [sys.executable, "-c", source, str(output), str(self.folder / f"{asked.bench}.runs")]

    def runs(self, bench: str) -> int:
        """How often a benchmark was begun."""
        path = self.folder / f"{bench}.runs"
        return len(path.read_text()) if path.exists() else 0

    def runner(self, folder: Path, keep: bool = False, jobs: int = 1) -> Runner:
        return Runner(
            folder,
            keep,
            self.said.append,
            self.program,
            lambda bench: self.conditions,
            lambda: self.folder / "homes" / self.conditions.key,
            jobs,
        )


@pytest.fixture
def fakes(tmp_path: Path, home: Path) -> Fakes:
    return Fakes(tmp_path)
