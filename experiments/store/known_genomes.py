"""Which genomes an experiment has already, found by short digests and checked by the genomes themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from bitfront.experiments.store.metric_blocks import DIGEST, read_columns, rebuild_blocks_if_behind
from bitfront.experiments.store.schema import candidates, generations

_MOST_PARAMETERS = 500


Run = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Digests (n,), ascending, and the numbers (n,) of their candidates."""


@dataclass(frozen=True, slots=True)
class KnownGenomes:
    """An experiment's candidates as its newest generation left them, in few sorted runs, the longest first.

    A search adds one generation after the other: what was read for one is kept for the next, and counts as long as
    no other process added one. (Candidates are forgotten only of experiments that get no generation any more.)
    """

    experiment: int
    newest: tuple[int, datetime] | None
    runs: tuple[Run, ...]

    @classmethod
    def read(cls, connection: Connection, experiment: int, kept: KnownGenomes | None = None) -> KnownGenomes:
        """Those of an experiment, given by its number; ``kept`` where that still holds."""
        mine = select(generations.c["index"], generations.c.created_at).where(
            generations.c.experiment_number == experiment
        )
        row = connection.execute(mine.order_by(generations.c.index.desc()).limit(1)).one_or_none()
        newest = None if row is None else (int(row[0]), row[1])
        if kept is not None and (kept.experiment, kept.newest) == (experiment, newest):
            return kept
        rebuild_blocks_if_behind(connection, experiment)
        columns = read_columns(connection, experiment, [DIGEST])
        return cls(experiment, newest, (_run(columns.values[DIGEST], columns.numbers),))

    def after(
        self, newest: tuple[int, datetime], digests: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> KnownGenomes:
        """With what a generation added."""
        runs, last = list(self.runs), _run(digests, numbers)
        # Each is more than twice the next: there are few, and each candidate is sorted few times.
        while runs and len(runs[-1][0]) <= 2 * len(last[0]):
            before = runs.pop()
            last = _run(np.concatenate([before[0], last[0]]), np.concatenate([before[1], last[1]]))
        return KnownGenomes(self.experiment, newest, (*runs, last))

    def next_number(self, connection: Connection) -> int:
        """The number of the next candidate."""
        query = select(func.max(candidates.c.number)).where(candidates.c.experiment_number == self.experiment)
        newest = connection.execute(query).scalar_one()
        return 0 if newest is None else int(newest) + 1

    def numbers_of(
        self, connection: Connection, genomes: Sequence[bytes], digests: NDArray[np.int64]
    ) -> dict[bytes, int]:
        """The numbers of those genomes, with these digests, that are candidates."""
        near: set[int] = set().union(*(_near(run, digests) for run in self.runs))
        wanted = set(genomes)
        found: dict[bytes, int] = {}
        for part in _parts(sorted(near)):
            query = select(candidates.c.genome, candidates.c.number)
            mine = query.where(candidates.c.experiment_number == self.experiment, candidates.c.number.in_(part))
            found.update({genome: number for genome, number in connection.execute(mine).all() if genome in wanted})
        return found


def _run(digests: NDArray[np.int64], numbers: NDArray[np.int64]) -> Run:
    order = np.argsort(digests, kind="stable")
    return digests[order], numbers[order]


def _near(run: Run, digests: NDArray[np.int64]) -> set[int]:
    """Numbers of candidates with one of these digests; of two genomes that share one, of both."""
    stored, numbers = run
    if not len(stored):
        return set()
    first = np.searchsorted(stored, digests).clip(max=len(stored) - 1)
    last = (np.searchsorted(stored, digests, side="right") - 1).clip(min=0)
    return {one for at in (first, last) for one in numbers[at[stored[at] == digests]].tolist()}


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _MOST_PARAMETERS):
        yield numbers[start : start + _MOST_PARAMETERS]
