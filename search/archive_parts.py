"""Every scored candidate in parquet files, which pandas and others read as one table.

The files of a folder are parts of one table, in order: each is named after the number of its first candidate, and
holds the next ones without a gap. A file is written beside its place and renamed, and never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bitfront.search.parquet_part import (
    FIX,
    ArchivePartsError,
    DamagedPartError,
    decode,
    encode,
    extent,
    path_of,
    paths,
)
from bitfront.search.problem import Problem
from bitfront.search.scored import Scored
from bitfront.supernet.errors import MissingFileError, StorageError
from bitfront.supernet.files import write_bytes
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.search.loop import Generation

__all__ = ["ArchiveParts", "ArchivePartsError", "read_parts"]

_ROWS = 65_536


class ArchiveParts:
    """Writes scored candidates as parts; use it as a context manager, or `close` it, or the last ones are missing.

    ``search(problem, ..., on_generation=parts.keep)`` keeps all. What waits for the next part is lost when the
    process dies: `flush` before you store a checkpoint, or give everything up to it as ``known`` when the search
    goes on.

    Args:
        folder: where the parts are; made when the first one is written.
        problem: what is searched for; its space stands in every part.
        known: all candidates up to where the search goes on. What the folder has beyond them is removed, and what
            it lacks of them is written, also in place of damaged files. None: the search begins.
        rows: candidates in a part, at least 1; those that wait for it are in memory.

    ``notes`` tells, each in a sentence, which parts were damaged and written anew.

    Raises:
        ArchivePartsError: the search begins, and the folder has parts; or they are of another space.
        StorageError: a part can not be written or removed.
    """

    def __init__(self, folder: Path, problem: Problem, known: Scored | None = None, rows: int = _ROWS) -> None:
        if rows < 1:
            raise ArchivePartsError(f"a part of {rows} candidates holds nothing: write at least 1 row a part")
        self._folder, self._problem, self._rows = folder, problem, rows
        self._waiting: list[Scored] = []
        self._written = 0
        self.notes: list[str] = []
        if known is not None:
            self._continue(known, problem.space)
        elif found := paths(folder):
            raise ArchivePartsError(
                f"{folder} has {len(found)} parts of a search already: give another folder, or the candidates "
                "up to where that search goes on"
            )

    def __len__(self) -> int:
        """Candidates so far, written or waiting."""
        return self._written + sum(map(len, self._waiting))

    def keep(self, generation: Generation) -> None:
        """Take in a generation of `search`.

        Raises:
            ArchivePartsError: it does not follow what is here, or another search writes to the folder.
            StorageError: a part can not be written.
        """
        if generation.first_row != len(self):
            raise ArchivePartsError(
                f"candidate {generation.first_row} does not follow the {len(self)} candidates in {self._folder}: "
                "give all candidates up to where the search goes on"
            )
        scores = generation.evaluation
        self.append(Scored.of(self._problem.objectives, generation.genomes, scores, generation.index))

    def append(self, scored: Scored) -> None:
        """Take in candidates that follow those that are here."""
        self._waiting.append(scored)
        if len(self) - self._written >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if len(self) == self._written:
            return
        waiting, path = Scored.joined(self._waiting), path_of(self._folder, self._written)
        if path.exists():  # all parts that this search does not know were removed when it began
            raise ArchivePartsError(
                f"{path} is there already: another search writes to this folder; stop one of them"
            )
        write_bytes(path, encode(waiting, self._written, self._problem))
        self._written += len(waiting)
        self._waiting = []

    def close(self) -> None:
        """Write what waits; it may be called twice."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(ArchivePartsError, StorageError):  # the error that is raised already matters more
            self.close()

    def _continue(self, known: Scored, space: SearchSpace) -> None:
        """Keep the parts of which all candidates are known; the rest is written anew."""
        for path in paths(self._folder):
            try:
                first, rows = extent(path, space)
            except DamagedPartError:
                self.notes.append(f"{path} was damaged: it and the parts after it are written anew")
                first, rows = -1, 0
            if first == self._written and first + rows <= len(known):
                self._written += rows
            else:
                _remove(path)
        for start in range(self._written, len(known), self._rows):
            self.append(known.part(start, min(start + self._rows, len(known))))


def read_parts(folder: Path, space: SearchSpace) -> Scored:
    """All candidates that the parts in a folder hold.

    Raises:
        MissingFileError: there is no part.
        ArchivePartsError: a part is of another space, is missing in between, or can not be read.
    """
    parts = list(_in_order(paths(folder), space))
    if not parts:
        raise MissingFileError(f"{folder} has no parts of a search: give the folder that they were written to")
    try:
        return Scored.joined(parts)
    except ValueError as error:
        raise ArchivePartsError(f"the parts in {folder} are of several searches ({error}): {FIX}") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"can not remove {path}: {error.strerror or error}. Make its folder writable"
        ) from error


def _in_order(files: Iterable[Path], space: SearchSpace) -> Iterator[Scored]:
    expected = 0
    for path in files:
        first, rows = extent(path, space)
        if first != expected:
            raise ArchivePartsError(f"{path} begins with candidate {first}, but {expected} comes next: {FIX}")
        expected += rows
        yield decode(path)
