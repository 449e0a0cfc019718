"""Problems whose accuracy is measured, not predicted: each genome once, in chunks on an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import Constraint, Floats
from bitfront.search.executors.base import Executor, Failure
from bitfront.search.problem import Evaluation, Extreme, Problem
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Outcome = float | str
"""A measured top-1 accuracy as a fraction, or the error that stands in its place."""

Measure = Callable[[Genomes], Sequence[Outcome]]
"""Different genomes (n, n_genes), n > 0, to what each measured."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_AT_ONCE = 16


class NothingMeasuredError(BitfrontError):
    """No candidate at all could be measured."""


@final
class MeasuredProblem(Problem):
    """A problem in whose evaluations top1 is what ``measure`` says; strategies see no difference.

    A candidate that can not be measured is in `Evaluation.errors`, and the search goes on. It is not tried again.

    Args:
        space, objectives, cost, constraints, extreme: as `Problem`.
        measure: called with genomes that are not known yet.
        known: genome (as bytes) to top1 of what was measured before.

    Raises:
        UnknownNameError, InvalidObjectivesError: as `Problem`.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str],
        measure: Measure,
        cost: Callable[[Genomes], Mapping[str, Floats]],
        constraints: Sequence[Constraint] = (),
        known: Mapping[bytes, float] | None = None,
        extreme: Extreme | None = None,
    ) -> None:
        super().__init__(space, objectives, self._top1, cost, constraints, extreme)
        self._measure = measure
        self._known: dict[bytes, Outcome] = dict(known or {})

    @property
    def outcomes(self) -> Mapping[bytes, Outcome]:
        """All that is known: genome (as bytes) to top1, or to the error of one that could not be measured."""
        return self._known

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Measure what is not known yet, and score canonical genomes of the space, shape (n, n_genes).

        Raises:
            NothingMeasuredError: none of them could be measured, nor any before.
            UnsupportedError: the device does not give a cost that is asked for.
            NumericalError: a cost came out as NaN or infinite.
        """
        evaluation = super().evaluate(genomes)
        errors = self._errors(genomes) if "top1" in evaluation.metrics else {}
        return self.judge(evaluation.metrics, errors) if errors else evaluation

    def _top1(self, genomes: Genomes) -> Floats:
        """Measured accuracies (n,); 0 where there is an error instead."""
        keys = [genome.tobytes() for genome in genomes]
        rows = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        if rows:
            found = zip(rows, self._measure(genomes[rows]), strict=True)
            self._known.update({keys[row]: outcome for row, outcome in found})
            self._refuse_nothing()
        outcomes = [self._known[key] for key in keys]
        return np.array([0.0 if isinstance(one, str) else one for one in outcomes], dtype=np.float64)

    def _errors(self, genomes: Genomes) -> dict[int, str]:
        found = {row: self._known[genome.tobytes()] for row, genome in enumerate(genomes)}
        return {row: outcome for row, outcome in found.items() if isinstance(outcome, str)}

    def _refuse_nothing(self) -> None:
        errors = [outcome for outcome in self._known.values() if isinstance(outcome, str)]
        if len(errors) == len(self._known):
            raise NothingMeasuredError(
                f"none of {len(errors)} candidates could be measured, the first failed with {errors[0]}: "
                "check the supernet and the data"
            )


def measure_on(
    executor: Executor,
    make_worker: Callable[[Any], Callable[[Genomes], Sequence[Outcome]]],
    shared: Any,
    *,
    order: Callable[[Genomes], NDArray[np.intp]] | None = None,
    on_measured: Callable[[Genomes, Sequence[Outcome]], None] | None = None,
) -> Measure:
    """A `Measure` whose work is done on an executor.

    Args:
        executor: where.
        make_worker: see `Executor.map`; what it returns measures up to 16 genomes (k, n_genes) at a time.
        shared: likewise.
        order: genomes (n, n_genes) to their places in the order (n,) in which they have most in common.
        on_measured: called in this process with what has just been measured, chunk by chunk, so that it can be
            kept.

    A chunk that fails every attempt, as when a worker's process dies of it, is measured one by one, so that the
    others of its candidates do not suffer.
    """

    def measure(genomes: Genomes) -> list[Outcome]:
        places = np.arange(len(genomes)) if order is None else order(genomes)
        size = chunk_size(len(genomes), executor.workers)
        chunks = [places[start : start + size] for start in range(0, len(places), size)]
        outcomes: list[Outcome] = [""] * len(genomes)

        def take(chunk: NDArray[np.intp], found: Sequence[Outcome]) -> None:
            for place, outcome in zip(chunk, found, strict=True):
                outcomes[place] = outcome
            if on_measured is not None:
                on_measured(genomes[chunk], found)

        _chunk_by_chunk(executor, make_worker, shared, genomes, chunks, take)
        return outcomes

    return measure


def chunk_size(n: int, workers: int) -> int:
    """Candidates in a chunk: 16, or so few that each worker gets two chunks and a kill loses little."""
    return max(1, min(_MOST_AT_ONCE, n // (2 * workers)))


def _chunk_by_chunk(
    executor: Executor,
    make_worker: Callable[[Any], Callable[[Genomes], Sequence[Outcome]]],
    shared: Any,
    genomes: Genomes,
    chunks: Sequence[NDArray[np.intp]],
    take: Callable[[NDArray[np.intp], Sequence[Outcome]], None],
) -> None:
    def arrived(position: int, result: Sequence[Outcome] | Failure) -> None:
        if not isinstance(result, Failure):
            take(chunks[position], result)
        elif len(chunks[position]) == 1:
            take(chunks[position], [result.error])
        else:
            single.extend(np.split(chunks[position], len(chunks[position])))

    single: list[NDArray[np.intp]] = []
    executor.map(make_worker, shared, [genomes[chunk] for chunk in chunks], arrived)
    if single:
        _chunk_by_chunk(executor, make_worker, shared, genomes, single, take)
