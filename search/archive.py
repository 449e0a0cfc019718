"""Everything ever scored: genomes, scores, and the exact front of it, in arrays that grow."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymoo.util.nds.non_dominated_sorting import find_non_dominated

from bitfront.search.constraints import Floats
from bitfront.search.problem import Evaluation
from bitfront.supernet.genes import Genomes

Rows = NDArray[np.intp]
T = TypeVar("T", bound=np.generic)


def non_dominated(F: Floats) -> NDArray[np.bool_]:
    """Which rows of ``F`` (n, m), all minimised, no other row dominates, shape (n,).

    A row dominates another where it is nowhere worse and somewhere better; so equal rows never dominate each
    other, and all copies of a non-dominated point are kept.
    """
    mask = np.zeros(len(F), dtype=bool)
    mask[find_non_dominated(np.ascontiguousarray(F))] = True
    return mask


def first_of_equals(F: Floats) -> Rows:
    """Rows of ``F`` (n, m) that no earlier row equals, in ascending order."""
    # Equal numbers have the same bytes, once there is no negative zero.
    return _ascending(list(_first(_keys(F + 0.0)).values()))


class Archive:
    """Scored candidates in the order in which they came, each genome once.

    The front holds the feasible candidates that no other feasible one dominates; of several candidates with
    equal objectives it holds the one that came first, so that metrics which many genomes share can not flood it.

    Everything is in memory: with 137 genes, 7 metrics and 3 objectives about half a kilobyte a candidate.
    """

    def __init__(self, n_genes: int) -> None:
        self._genomes = _Grown(np.empty((0, n_genes), dtype=np.uint8))
        self._F: _Grown[np.float64] | None = None
        self._G: _Grown[np.float64] | None = None
        self._metrics: dict[str, _Grown[np.float64]] = {}
        self._errors: dict[int, str] = {}
        self._rows: dict[bytes, int] = {}
        self._front: Rows = np.empty(0, dtype=np.intp)

    def __len__(self) -> int:
        return len(self._genomes)

    @property
    def genomes(self) -> Genomes:
        """All genomes, shape (len, n_genes); a view."""
        return self._genomes.filled

    @property
    def evaluation(self) -> Evaluation:
        """Scores of all candidates; views."""
        if self._F is None or self._G is None:
            raise ValueError("nothing has been scored yet")
        metrics = {name: values.filled for name, values in self._metrics.items()}
        return Evaluation(self._F.filled, self._G.filled, metrics, dict(self._errors))

    @property
    def front(self) -> Rows:
        """Rows of the non-dominated feasible candidates, in ascending order."""
        return self._front

    def fresh(self, genomes: Genomes) -> Rows:
        """Rows of canonical ``genomes`` (n, n_genes) that are not in here; the first of equal ones, ascending."""
        return self._fresh(genome_keys(genomes))

    def _fresh(self, keys: list[bytes]) -> Rows:
        known = self._rows
        return _ascending([row for key, row in _first(keys).items() if key not in known])

    def rows_of(self, genomes: Genomes) -> Rows:
        """Where canonical ``genomes`` (n, n_genes) stand, shape (n,).

        Raises:
            KeyError: one is not in here.
        """
        return np.array([self._rows[key] for key in genome_keys(genomes)], dtype=np.intp)

    def add(self, genomes: Genomes, evaluation: Evaluation) -> Rows:
        """Store the candidates that are new and return where they stand now; the others are passed over."""
        keys = genome_keys(genomes)
        fresh = self._fresh(keys)
        start, scores = len(self), evaluation.take(fresh)
        self._rows.update(zip([keys[row] for row in fresh], range(start, start + len(fresh)), strict=True))
        self._genomes.append(genomes[fresh])
        self._append(scores)
        self._errors.update({start + row: error for row, error in scores.errors.items()})
        rows = np.arange(start, len(self), dtype=np.intp)
        self._advance_front(rows[scores.feasible])
        return rows

    def _append(self, scores: Evaluation) -> None:
        if self._F is None or self._G is None:
            self._F, self._G = _Grown(scores.F), _Grown(scores.G)
            self._metrics = {name: _Grown(values) for name, values in scores.metrics.items()}
            return
        if scores.metrics.keys() != self._metrics.keys():
            raise ValueError(f"metrics changed from {sorted(self._metrics)} to {sorted(scores.metrics)}")
        self._F.append(scores.F)
        self._G.append(scores.G)
        for name, values in scores.metrics.items():
            self._metrics[name].append(values)

    def _advance_front(self, feasible: Rows) -> None:
        if not len(feasible) or self._F is None:
            return
        # A dominated candidate stays so, hence only the old front and the newcomers can be on the new one.
        rows = np.concatenate([self._front, feasible])
        rows = rows[non_dominated(self._F.filled[rows])]
        self._front = rows[first_of_equals(self._F.filled[rows])]


def genome_keys(genomes: Genomes) -> list[bytes]:
    """One key per genome of (n, n_genes), equal exactly where genomes are."""
    # The whole row is the key, so that two genomes are never mistaken for one.
    return _keys(np.asarray(genomes, dtype=np.uint8))


def _keys(rows: NDArray[Any]) -> list[bytes]:
    """The bytes of each row of (n, m)."""
    rows = np.ascontiguousarray(rows)
    return rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist() if len(rows) else []


def _first(keys: list[bytes]) -> dict[bytes, int]:
    """Each key, and where it stands first."""
    return dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))


def _ascending(rows: list[int]) -> Rows:
    return np.array(sorted(rows), dtype=np.intp)


class _Grown(Generic[T]):
    """An array that grows along its first axis; doubling keeps appending cheap."""

    def __init__(self, first: NDArray[T]) -> None:
        self._space = first.copy()
        self._used = len(first)

    def __len__(self) -> int:
        return self._used

    @property
    def filled(self) -> NDArray[T]:
        return self._space[: self._used]

    def append(self, more: NDArray[T]) -> None:
        used = self._used + len(more)
        if used > len(self._space):
            grown = np.empty((max(used, 2 * len(self._space)), *self._space.shape[1:]), dtype=self._space.dtype)
            grown[: self._used] = self.filled
            self._space = grown
        self._space[self._used : used] = more
        self._used = used
