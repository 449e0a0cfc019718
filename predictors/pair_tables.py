"""Pairs from a table of a user's own: checked whole, and refused whole where a row is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.dataset import Pairs, Repeats
from bitfront.predictors.table_files import Form, PairTableError, RawTable, read_table
from bitfront.predictors.table_genes import Problem, ReadGenomes, read_genomes
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_PERCENT = 100.0
_MOST_NAMED = 6


@dataclass(frozen=True)
class GenomeTable:
    """Genomes of a table, in its order, repeats included.

    Attributes:
        genomes: uint8 (n, n_genes), canonical.
        unit: what ``numbers`` count: ``"line"`` of a CSV file or ``"row"`` of a parquet file, from 1.
        numbers: where in the file each genome stands.
        left_out: what was wrong with rows that were left out, one each.
        rewritten: in how many rows genes of skipped blocks held values, which shape no network.
        unused: columns that nothing was read from.
    """

    genomes: Genomes
    unit: str
    numbers: tuple[int, ...]
    left_out: tuple[str, ...]
    rewritten: int
    unused: tuple[str, ...]

    def notes(self) -> list[str]:
        """What whoever gave the table should know, in words."""
        notes = []
        if self.left_out:
            listed = "; ".join(self.left_out[:_MOST_NAMED])
            more = f" and {len(self.left_out) - _MOST_NAMED} more" if len(self.left_out) > _MOST_NAMED else ""
            notes.append(f"left out because something is wrong: {listed}{more}")
        if self.rewritten:
            notes.append(f"{_rows(self.rewritten)}: values in genes of skipped blocks, which count for nothing")
        if self.unused:
            notes.append(f"columns that were not used: {_named([name or '(no name)' for name in self.unused])}")
        return notes


@dataclass(frozen=True)
class PairTable(GenomeTable):
    """Genomes with what they measured.

    Attributes:
        accuracy: float64 (n,), fractions.
        constant: genes that have one value wherever they are active: what they do can not be learned from this.
    """

    accuracy: NDArray[np.float64]
    constant: tuple[str, ...]

    @property
    def pairs(self) -> Pairs:
        """All rows as pairs; `averaged` joins those of equal genomes."""
        return Pairs(self.genomes, self.accuracy)

    def averaged(self) -> tuple[Pairs, Repeats]:
        """See `Pairs.averaged`."""
        return self.pairs.averaged()

    def notes(self) -> list[str]:
        """See `GenomeTable.notes`."""
        notes = super().notes()
        if repeats := str(self.averaged()[1]):
            notes.append(repeats)
        if self.constant:
            words = "never vary, so that nothing is learned about them"
            notes.append(f"warning: {len(self.constant)} genes {words}: {_named(self.constant)}")
        return notes


def read_pairs(
    path: Path,
    space: SearchSpace,
    metric: str = "top1",
    percent: bool = False,
    skip_bad_rows: bool = False,
    form: Form | None = None,
) -> PairTable:
    """The pairs in a CSV or parquet file.

    Each row is a candidate: either with a column ``genome`` of choice indices (a JSON list, numbers with
    separators, two hexadecimal digits a gene, or a parquet list), or with a column of choice values for every
    gene that has a choice. Genes of skipped blocks may hold anything.

    Args:
        path: the file.
        space: whose candidates the rows are.
        metric: the column of accuracies.
        percent: accuracies are per cent; else they are fractions from 0 to 1.
        skip_bad_rows: leave out rows that are wrong instead of refusing the table.
        form: of the file; default: as the ending of its name tells.

    Raises:
        MissingFileError, CorruptFileError: the file can not be read.
        UnknownNameError: there is no such column, or the file's ending tells no format.
        PairTableError: columns are missing or unknown; a row is wrong (each is named with gene, value and
            choices); all accuracies are equal; nothing is left.
    """
    table = read_table(path, form)
    if metric not in table.columns:
        raise UnknownNameError(f"column of {path} for the metric", metric, table.columns)
    found = read_genomes(table, space)
    accuracy, problems = _accuracy(table, metric, percent)
    keep, left_out = _kept(table, [*found.problems, *problems], skip_bad_rows)
    accuracy = accuracy[keep]
    _check_metric(table, metric, percent, accuracy)
    genomes = found.genomes[keep]
    return PairTable(
        *_where(table, found, keep, left_out, metric), accuracy=accuracy, constant=_constant(space, genomes)
    )


def read_candidates(
    path: Path, space: SearchSpace, skip_bad_rows: bool = False, form: Form | None = None
) -> GenomeTable:
    """As `read_pairs`, of a table that needs no accuracies."""
    table = read_table(path, form)
    found = read_genomes(table, space)
    keep, left_out = _kept(table, found.problems, skip_bad_rows)
    return GenomeTable(*_where(table, found, keep, left_out))


def _where(
    table: RawTable, found: ReadGenomes, keep: NDArray[np.intp], left_out: list[str], *used: str
) -> tuple[Genomes, str, tuple[int, ...], tuple[str, ...], int, tuple[str, ...]]:
    return (
        found.genomes[keep],
        table.unit,
        tuple(table.numbers[row] for row in keep),
        tuple(left_out),
        int(found.skipped[keep].sum()),
        tuple(name for name in table.columns if name not in (*found.used, *used)),
    )


def _accuracy(table: RawTable, metric: str, percent: bool) -> tuple[NDArray[np.float64], list[Problem]]:
    """Fractions, shape (n,), and what is wrong with them."""
    values, problems = np.zeros(len(table)), []
    most = _PERCENT if percent else 1.0
    for row, cell in enumerate(table.columns[metric]):
        number = _number(cell)
        if number is None:
            problems.append((row, f"{metric} is {_no_number(cell)}"))
        elif not 0 <= number <= most:
            problems.append((row, f"{metric} is {number:g}, but must be {_rule(percent, number)}"))
        else:
            values[row] = number / most
    return values, problems


def _rule(percent: bool, number: float) -> str:
    if percent:
        return "per cent, from 0 to 100"
    return "a fraction from 0 to 1" + (": per cent? give --percent" if 1 < number <= _PERCENT else "")


def _number(cell: object) -> float | None:
    """A finite or infinite number; None for what is none, NaN included."""
    if isinstance(cell, bool) or cell is None:
        return None
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return None if np.isnan(number) else number


def _no_number(cell: object) -> str:
    text = "" if cell is None else str(cell).strip()
    if text.lower() in ("", "nan"):
        return "missing"
    comma = re.fullmatch(r"[+-]?\d+,\d+", text)
    fix = f": a decimal comma? write {text.replace(',', '.')}" if comma else ""
    return f"{cell!r}, which is no number{fix}"


def _kept(table: RawTable, problems: list[Problem], skip_bad_rows: bool) -> tuple[NDArray[np.intp], list[str]]:
    words = [f"{table.where(row)}: {text}" for row, text in sorted(problems, key=lambda problem: problem[0])]
    bad = {row for row, _ in problems}
    if len(bad) == len(table):
        raise PairTableError(table.source, words, "Every row is wrong: nothing is left to use")
    if words and not skip_bad_rows:
        remedy = f"{_rows(len(bad))} of {len(table)} wrong: mend them, or give --skip-bad-rows to leave them out"
        raise PairTableError(table.source, words, remedy)
    return np.array([row for row in range(len(table)) if row not in bad], dtype=np.intp), words


def _check_metric(table: RawTable, metric: str, percent: bool, accuracy: NDArray[np.float64]) -> None:
    if len(accuracy) > 1 and np.ptp(accuracy) == 0:
        value = accuracy[0] * (_PERCENT if percent else 1)
        problem = f"column {metric!r} is {value:g} in every row: there is nothing to tell candidates apart by"
        raise PairTableError(table.source, [problem], "Name another column with --metric")
    if percent and accuracy.max() <= 1 / _PERCENT:
        problem = f"column {metric!r} is at most {accuracy.max() * _PERCENT:g} per cent"
        raise PairTableError(table.source, [problem], "These look like fractions: leave --percent out")


def _constant(space: SearchSpace, genomes: Genomes) -> tuple[str, ...]:
    active = space.active(genomes)
    return tuple(
        gene.name
        for i, gene in enumerate(space.genes)
        if len(gene.choices) > 1 and len(np.unique(genomes[active[:, i], i])) < 2
    )


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
