"""What a benchmark found, and which goals it holds."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bitfront.experiments.machine import this_machine, versions
from bitfront.supernet.errors import NumericalError

_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")
_PICTURE = re.compile(r"[A-Za-z0-9_-]+")
_PNG = b"\x89PNG\r\n\x1a\n"
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what it should be (such as ``>= 0.6``), what it is, and whether that will do."""

    figure: str
    goal: str
    value: float
    holds: bool


@dataclass(frozen=True)
class BenchResult:
    """Figures of one benchmark, over ``seeds`` seeds, with the machine and the versions they were taken on.

    ``pictures``: name to PNG. They are files beside the JSON, and no part of it. ``notes``: sentences that people
    need to read the figures, such as what could not be run, and why.

    Raises:
        NumericalError: a figure is NaN or infinite.
        ValueError: a picture's name is not fit to be a part of a file's name, or it is no PNG.
    """

    bench: str
    seeds: int
    figures: Mapping[str, float]
    goals: tuple[Goal, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=lambda: this_machine().to_json())
    versions: Mapping[str, str] = field(default_factory=versions)
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.figures.items():
            if not math.isfinite(value):
                raise NumericalError(
                    f"figure {name!r} of benchmark {self.bench!r} is {value}: nothing can be said"
                )
        for name, image in self.pictures.items():
            if not _PICTURE.fullmatch(name) or not image.startswith(_PNG):
                raise ValueError(f"picture {name!r} must be a PNG with a name of letters, digits, '-' and '_'")

    @classmethod
    def of(
        cls,
        bench: str,
        seeds: int,
        figures: Mapping[str, float],
        goals: Sequence[str],
        pictures: Mapping[str, bytes] | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """A result whose goals are judged; each goal reads ``"FIGURE >= NUMBER"`` (or ``<=``, ``>``, ``<``).

        Raises:
            ValueError: a goal has another form, or names a figure that is not there; a picture is none.
            NumericalError: a figure is NaN or infinite.
        """
        plain = {name: float(value) for name, value in figures.items()}
        goals_judged = tuple(judged(plain, text) for text in goals)
        return cls(bench, seeds, plain, goals_judged, pictures=dict(pictures or {}), notes=tuple(notes))

    def json_line(self) -> str:
        """The result as JSON on one line, without a line end."""
        values = {
            "bench": self.bench,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "seeds": self.seeds,
            "figures": dict(self.figures),
            "goals": [asdict(goal) for goal in self.goals],
            "notes": list(self.notes),
        }
        return json.dumps(values, allow_nan=False)


def judged(figures: Mapping[str, float], text: str) -> Goal:
    """A goal such as ``"gain >= 0.02"``, held against the figures.

    Raises:
        ValueError: it has another form, or names a figure that is not there.
    """
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in figures:
        raise ValueError(f"goal {text!r} must read FIGURE >= NUMBER, where FIGURE is one of {sorted(figures)}")
    figure, sense, number = form.groups()
    value = figures[figure]
    return Goal(figure, f"{sense} {number}", value, _HOLDS[sense](value, float(number)))
