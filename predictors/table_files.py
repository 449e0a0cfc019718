"""Tables of a user's own as plain columns: CSV and parquet files, with their rows named as a person sees them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bitfront.supernet.errors import BitfrontError, CorruptFileError, MissingFileError, UnknownNameError

Form = Literal["csv", "parquet"]

_ENDINGS: dict[str, Form] = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_SEPARATORS = ",;\t"
_MOST_NAMED = 8


class PairTableError(BitfrontError):
    """A table that can not be used: ``problems`` says why, one each; ``remedy`` what to do."""

    def __init__(self, source: str, problems: Sequence[str], remedy: str = "") -> None:
        super().__init__(source, tuple(problems), remedy)

    @property
    def problems(self) -> tuple[str, ...]:
        """All of them; the message has the first few."""
        found: tuple[str, ...] = self.args[1]
        return found

    def __str__(self) -> str:
        source, problems, remedy = self.args
        lines = [f"{source} can not be used (nothing was):", *problems[:_MOST_NAMED]]
        if len(problems) > _MOST_NAMED:
            lines.append(f"and {len(problems) - _MOST_NAMED} more: {len(problems)} problems in all")
        return "\n  ".join(lines) + (f"\n{remedy}" if remedy else "")


@dataclass(frozen=True)
class RawTable:
    """Cells as they stand in a file.

    Attributes:
        source: the file, for messages.
        columns: name to cells, all equally many: text from CSV, plain Python values from parquet.
        unit: what ``numbers`` count: ``"line"`` or ``"row"``.
        numbers: of each row; lines of a CSV file from 1, the head included, or rows of a parquet file from 1.
    """

    source: str
    columns: dict[str, list[object]]
    unit: str
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, row: int) -> str:
        """The name of a row, counted from 0."""
        return f"{self.unit} {self.numbers[row]}"


def read_table(path: Path, form: Form | None = None) -> RawTable:
    """A CSV or parquet file; where no ``form`` is given, by the ending of its name.

    CSV is UTF-8 with a head; cells are separated by commas, semicolons or tabs, whichever the head has most of.

    Raises:
        MissingFileError: there is no such file. UnknownNameError: the ending tells neither.
        CorruptFileError: it can not be read as what its ending says.
        PairTableError: it has no rows, or two columns of one name, or rows of different lengths.
    """
    ending = path.suffix.lower()
    if form is None and ending not in _ENDINGS:
        raise UnknownNameError("ending of a table's file", path.suffix or path.name, _ENDINGS)
    return read_parquet(path) if (form or _ENDINGS[ending]) == "parquet" else read_csv(path)


def read_csv(path: Path) -> RawTable:
    """See `read_table`."""
    _check_is_there(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(_SEPARATORS, key=head.count), strict=True)
            names = [name.strip() for name in next(reader, [])]
            rows, numbers, line = [], [], reader.line_num + 1
            for row in reader:
                if row:
                    rows.append(row)
                    numbers.append(line)
                line = reader.line_num + 1  # cells may hold line breaks
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"{path} can not be read as CSV: {error}") from error
    _check_names(path, names)
    wrong = [
        f"line {number} has {len(row)} cell{'s' * (len(row) != 1)}, but the head names {len(names)} columns"
        for row, number in zip(rows, numbers, strict=True)
        if len(row) != len(names)
    ]
    if wrong:
        raise PairTableError(str(path), wrong, "Put cells that hold separators into quotes")
    columns: dict[str, list[object]] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return _with_rows(path, RawTable(str(path), columns, "line", numbers))


def read_parquet(path: Path) -> RawTable:
    """See `read_table`."""
    import pyarrow
    import pyarrow.parquet

    _check_is_there(path)
    try:
        # One file, and no folder names as further columns; what was a pandas index has no name of its own.
        table = pyarrow.parquet.ParquetFile(path).read()
        _check_names(path, table.column_names)
        columns = {name: table[name].to_pylist() for name in table.column_names}
    except (OSError, pyarrow.ArrowException) as error:
        raise CorruptFileError(f"{path} can not be read as parquet: {error}") from error
    return _with_rows(path, RawTable(str(path), columns, "row", list(range(1, table.num_rows + 1))))


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"table {path} is missing: give the path of a CSV or parquet file")


def _check_names(path: Path, names: Sequence[str]) -> None:
    # One may be without: that is how an index is written.
    nameless = [place for place, name in enumerate(names, 1) if not name]
    if len(nameless) > 1:
        places = f"{', '.join(map(str, nameless[:_MOST_NAMED]))}{', ...' if len(nameless) > _MOST_NAMED else ''}"
        problem = f"{len(nameless)} of {len(names)} cells of its head are empty (columns {places})"
        raise PairTableError(
            str(path), [problem], "Name each column; take separators away from the ends of all lines"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PairTableError(
            str(path), [f"column {name!r} comes twice" for name in twice], "Name each column once"
        )


def _with_rows(path: Path, table: RawTable) -> RawTable:
    if not len(table):
        raise PairTableError(str(path), ["it has no rows below its head"], "Give one row a measured candidate")
    return table
