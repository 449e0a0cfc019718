"""Scored candidates as plain arrays, the form in which they are kept and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import Floats
from bitfront.search.problem import Evaluation, Metrics
from bitfront.supernet.genes import Genomes


@dataclass(frozen=True, eq=False)
class Scored:
    """Candidates in the order in which they were scored.

    ``genomes`` (n, n_genes), canonical; ``generations`` (n,) says in which one, counted from 0, each was scored.
    ``metrics``: every metric known, each (n,), in its own unit and sign, NaN where a candidate failed.
    ``F`` (n, m): the ``objectives``, all minimised, +inf where a candidate failed. ``feasible`` (n,): whether it
    meets every constraint of its search. ``errors``: row to what failed.
    """

    objectives: tuple[str, ...]
    genomes: Genomes
    generations: NDArray[np.int32]
    metrics: Metrics
    F: Floats
    feasible: NDArray[np.bool_]
    errors: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.genomes)

    @classmethod
    def of(
        cls,
        objectives: Sequence[str],
        genomes: Genomes,
        evaluation: Evaluation,
        generations: int | NDArray[np.integer],
    ) -> Self:
        """Candidates of one generation, or of several with one number each (n,)."""
        numbers = np.broadcast_to(np.asarray(generations, dtype=np.int32), (len(genomes),))
        scores = evaluation
        return cls(
            tuple(objectives), genomes, numbers, scores.metrics, scores.F, scores.feasible, dict(scores.errors)
        )

    def part(self, start: int, stop: int) -> Scored:
        """The candidates from row ``start`` up to, but without, row ``stop``."""
        rows = slice(start, stop)
        return Scored(
            self.objectives,
            self.genomes[rows],
            self.generations[rows],
            {name: values[rows] for name, values in self.metrics.items()},
            self.F[rows],
            self.feasible[rows],
            {row - start: error for row, error in self.errors.items() if start <= row < stop},
        )

    @staticmethod
    def joined(parts: Sequence[Scored]) -> Scored:
        """All candidates of one or more parts, in order.

        Raises:
            ValueError: there is no part, or they differ in objectives or metrics.
        """
        if not parts or any(
            (one.objectives, one.metrics.keys()) != (parts[0].objectives, parts[0].metrics.keys()) for one in parts
        ):
            raise ValueError(
                "only candidates with the same objectives and metrics can be joined, and at least one"
            )
        starts = np.cumsum([0, *(len(one) for one in parts)]).tolist()
        return Scored(
            parts[0].objectives,
            np.concatenate([one.genomes for one in parts]),
            np.concatenate([one.generations for one in parts]),
            {name: np.concatenate([one.metrics[name] for one in parts]) for name in parts[0].metrics},
            np.concatenate([one.F for one in parts]),
            np.concatenate([one.feasible for one in parts]),
            {
                start + row: text
                for start, one in zip(starts, parts, strict=False)
                for row, text in one.errors.items()
            },
        )
