"""What a headline claim is: a sentence, where it comes from, and the benchmark and figures that test it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bitfront.experiments.benchmarks.fidelity_cases import CASES, QUICK_CASES
from bitfront.experiments.benchmarks.rivals.names import NAMES

_DEVICES = {
    "bitfusion": "BitFusion (modelled)",
    "roofline": "a roofline accelerator (modelled)",
    "host_openvino": "this CPU under OpenVINO",
    "host_onnxruntime": "this CPU under ONNX Runtime",
}
WORDS: Mapping[str, Mapping[str, str]] = {
    "device": _DEVICES,
    "other": _DEVICES,
    "rival": NAMES,
    "pool": {"digits": "digits", "fashion": "Fashion-MNIST", "cifar10": "CIFAR-10"},
    "case": {case.name: case.words for case in (*CASES, *QUICK_CASES)},
    "runtime": {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"},
    "form": {"integer": "integers alone", "c": "C"},
}
"""What the names in figures' names stand for."""
_NUMBER = r"\d+"
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is written: times ``scale``, and then ``name``."""

    name: str
    scale: float = 1.0


PERCENT = Unit("%", 100.0)
POINTS = Unit("points", 100.0)
TIMES = Unit("times")
MILLISECONDS = Unit("ms")
SECONDS = Unit("s")
KILOJOULES = Unit("kJ", 1e-3)
PLAIN = Unit("")


@dataclass(frozen=True)
class Shown:
    """Figures of a benchmark that a claim shows: a row each, or a column of a table.

    Attributes:
        figure: their name. ``{device}``, ``{pool}`` and the other names of `WORDS` stand for any of theirs,
            ``{n}`` for a number.
        row: what they are; a place in braces is filled with what stands there in the figure's name. Where they are
            a column: what they are of.
        unit: what they are told in.
        known: how they are known, such as ``measured``, ``predicted`` or ``modelled``.
        published: what a paper reports of them, such as ``>= 2``, in the figure's own unit; empty where none does.
        column: the heading of their column, without places; empty where they are rows by themselves.
        table: what the rows are of the table that the column belongs to.
        least_where: whether one of them, by its name, is only known to be no less, as all figures tell.
    """

    figure: str
    row: str
    unit: Unit
    known: str
    published: str = ""
    column: str = ""
    table: str = ""
    least_where: Callable[[Mapping[str, float], str], bool] | None = None

    def prefix(self, figures: Mapping[str, float], figure: str) -> str:
        """What stands before the number of one figure."""
        return "at least " if self.least_where is not None and self.least_where(figures, figure) else ""

    def labelled(self, figure: str) -> str | None:
        """The label of one figure, by itself; None where its name is another."""
        return self._filled(self.label, figure)

    def row_of(self, figure: str) -> str | None:
        """The row of one figure; None where its name is another."""
        return self._filled(self.row, figure)

    @property
    def label(self) -> str:
        """What figures are that stand by themselves."""
        return f"{self.row}: {self.column}" if self.column else self.row

    @property
    def label_of_any(self) -> str:
        """The label of what is in no figure's name."""
        return _PLACE.sub(lambda place: f"any {place[1]}", self.label)

    def _filled(self, text: str, figure: str) -> str | None:
        found = self._form.fullmatch(figure)
        return found and _PLACE.sub(lambda place: _word(place[1], found[place[1]]), text)

    @cached_property
    def _form(self) -> re.Pattern[str]:
        parts = _PLACE.split(self.figure)
        return re.compile(
            "".join(_group(part) if place % 2 else re.escape(part) for place, part in enumerate(parts))
        )


def column_of(table: str, row: str) -> Callable[[str, str, Unit, str], Shown]:
    """Makes columns of a table with such rows, each of a figure, a heading, a unit and how it is known."""
    return lambda figure, heading, unit, known: Shown(figure, row, unit, known, column=heading, table=table)


@dataclass(frozen=True)
class Claim:
    """A headline claim.

    Attributes:
        name: a short name, fit to be linked to.
        heading, statement: what is claimed, in few words and in a sentence.
        source: who claims it, in Markdown.
        bench: the benchmark that tests it, by its name.
        seeds: how many seeds that has, in full.
        alone: whether it times this machine, so that no other benchmark may run beside it.
        shown: the figures that are told beside its goals; all of them where this is empty.
    """

    name: str
    heading: str
    statement: str
    source: str
    bench: str
    seeds: int = 5
    alone: bool = False
    shown: tuple[Shown, ...] = ()

    def row(self, figure: str) -> tuple[str, Shown] | None:
        """The label of a figure and how it is shown; None where it is not."""
        for shown in self.shown:
            label = shown.labelled(figure)
            if label is not None:
                return label, shown
        return None if self.shown else unlabelled(figure)

    def rows(self, figures: Iterable[str]) -> list[tuple[str, str, Shown]]:
        """(figure, label, how it is shown) of all that are shown, in the order of ``shown``."""
        known = list(figures)
        found = [(name, row) for name in known if (row := self.row(name)) is not None]
        if not self.shown:
            return [(name, label, shown) for name, (label, shown) in found]
        order = {id(shown): place for place, shown in enumerate(self.shown)}
        found.sort(key=lambda each: order[id(each[1][1])])
        return [(name, label, shown) for name, (label, shown) in found]


def unlabelled(figure: str) -> tuple[str, Shown]:
    """As `Claim.row`, of a figure of which no claim says what it is."""
    return f"`{figure}`", Shown(figure, figure, PLAIN, "")


def _group(place: str) -> str:
    values = _NUMBER if place == "n" else "|".join(WORDS[place])
    return f"(?P<{place}>{values})"


def _word(place: str, value: str) -> str:
    return value if place == "n" else WORDS[place][value]
