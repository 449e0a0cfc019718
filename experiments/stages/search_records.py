"""What a search has left in the store, and its candidates as parquet parts beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.places import candidates_folder
from bitfront.experiments.run import Run
from bitfront.experiments.store.base import MOST_PER_PAGE
from bitfront.experiments.store.records import Candidate
from bitfront.search.archive_parts import ArchiveParts
from bitfront.search.problem import Metrics, Problem
from bitfront.search.scored import Scored
from bitfront.supernet.genes import Genomes


@dataclass(frozen=True, eq=False)
class StoredSearch:
    """Where a search goes on: the state after its last generation, and all its candidates in order.

    ``genomes`` (n, n_genes); ``metrics`` and ``generations``, each (n,); ``errors``: row to what failed.
    """

    state: dict[str, Any]
    genomes: Genomes
    metrics: Metrics
    generations: NDArray[np.int32]
    errors: Mapping[int, str]

    def scored(self, problem: Problem) -> Scored:
        """The candidates as an archive has them."""
        evaluation = problem.judge(self.metrics, self.errors)
        return Scored.of(problem.objectives, self.genomes, evaluation, self.generations)


def stored_search(run: Run, problem: Problem) -> StoredSearch | None:
    """What is stored of the experiment's search; None before its first generation. It is told where it goes on."""
    last = run.store.last_generation(run.experiment_id)
    if last is None:
        return None
    run.reporter.say(f"the search goes on after generation {last[0].index + 1}")
    # As arrays page by page: candidates as objects take many times the memory.
    pages = [_arrays(page, problem.space.n_genes) for page in _pages(run)]
    starts = np.cumsum([0, *(len(page.genomes) for page in pages)]).tolist()
    names = dict.fromkeys(name for page in pages for name in page.metrics)
    return StoredSearch(
        last[1],
        np.concatenate([page.genomes for page in pages]),
        {name: np.concatenate([page.metric(name) for page in pages]) for name in names},
        np.concatenate([page.generations for page in pages]),
        {start + i: text for start, page in zip(starts, pages, strict=False) for i, text in page.errors.items()},
    )


@contextmanager
def archived(run: Run, problem: Problem, stored: StoredSearch | None) -> Iterator[Callable[[Scored], None]]:
    """Where scored candidates go beside the store, as the spec says: into parquet parts, or nowhere."""
    if run.spec.search.archive == "none":
        yield lambda scored: None
        return
    known = None if stored is None else stored.scored(problem)
    with ArchiveParts(candidates_folder(run.home, run.experiment_id), problem, known) as parts:
        for note in parts.notes:
            run.reporter.say(note)
        yield parts.append


def tell_errors(run: Run, errors: Mapping[int, str]) -> None:
    """Say, each once, why candidates could not be scored."""
    for error in sorted(set(errors.values())):
        run.reporter.say(f"a candidate could not be measured, and the search goes on without it: {error}")


@dataclass(frozen=True, eq=False)
class _Page:
    """Some candidates in order; ``metrics`` has those that at least one of them has."""

    genomes: Genomes
    metrics: Metrics
    generations: NDArray[np.int32]
    errors: Mapping[int, str]

    def metric(self, name: str) -> NDArray[np.float64]:
        found = self.metrics.get(name)
        return np.full(len(self.genomes), np.nan) if found is None else found


def _pages(run: Run) -> Iterator[Sequence[Candidate]]:
    """All stored candidates in the order in which they were scored."""
    cursor: str | None = None
    while True:
        page = run.store.candidates(run.experiment_id, cursor, MOST_PER_PAGE)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _arrays(rows: Sequence[Candidate], n_genes: int) -> _Page:
    names = dict.fromkeys(name for row in rows for name in row.predicted)
    return _Page(
        np.array([row.array for row in rows], dtype=np.uint8).reshape(-1, n_genes),
        {name: np.array([row.predicted.get(name, np.nan) for row in rows], dtype=np.float64) for name in names},
        np.array([row.generation for row in rows], dtype=np.int32),
        {place: row.error for place, row in enumerate(rows) if row.error is not None},
    )
