"""The Pareto front: its candidates with what was predicted and what was measured, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from bitfront.search import hypervolume as indicator
from bitfront.search.archive import Rows, first_of_equals, non_dominated
from bitfront.search.constraints import Floats
from bitfront.search.problem import Metrics, check_objectives, minimised
from bitfront.search.query import Column, select
from bitfront.search.spread import spread
from bitfront.supernet.genes import Genomes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Candidate", "Front", "first_of_equals", "non_dominated", "spread"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One member of a front: ``measured`` has None where a predicted metric was not measured (yet)."""

    id: int
    genome: NDArray[np.uint8]
    predicted: dict[str, float]
    measured: dict[str, float | None]
    dominated: bool


@dataclass(frozen=True, eq=False)
class Front:
    """Candidates of which, by prediction, none dominates another.

    ``ids`` (n,) are their numbers among all candidates of the search. ``predicted`` and ``measured`` map metrics
    to values (n,), in the metric's own unit and sign; a measured value is NaN where there is none. The *best
    known* value of a metric is the measured one where there is one, and else the predicted one.
    """

    objectives: tuple[str, ...]
    genomes: Genomes
    ids: Rows
    predicted: Metrics
    measured: Metrics

    @classmethod
    def of(
        cls,
        objectives: Sequence[str],
        genomes: Genomes,
        predicted: Mapping[str, Floats],
        measured: Mapping[str, Floats] | None = None,
        ids: Rows | None = None,
    ) -> Self:
        """A front of given candidates, sorted by their predicted objectives; ``ids`` count from 0 by default.

        Raises:
            UnknownNameError, InvalidObjectivesError: as `Problem`.
            ValueError: shapes do not match, or an objective was not predicted.
        """
        check_objectives(objectives)
        n = len(genomes)
        ids = np.arange(n, dtype=np.intp) if ids is None else ids
        front = cls(tuple(objectives), genomes, ids, dict(predicted), _filled(measured or {}, n))
        for name, values in (*front.predicted.items(), ("ids", ids)):
            if values.shape != (n,):
                raise ValueError(f"{name} of {n} candidates must have shape ({n},), got {values.shape}")
        missing = set(objectives) - set(predicted)
        if missing:
            raise ValueError(f"objectives without a prediction: {sorted(missing)}")
        return front.take(np.lexsort(front.F.T[::-1]))

    def __len__(self) -> int:
        return len(self.genomes)

    def __iter__(self) -> Iterator[Candidate]:
        """The candidates one by one, for showing them."""
        dominated = self.dominated
        for i in range(len(self)):
            measured = {name: float(values[i]) for name, values in self.measured.items()}
            yield Candidate(
                id=int(self.ids[i]),
                genome=self.genomes[i],
                predicted={name: float(values[i]) for name, values in self.predicted.items()},
                measured={
                    name: None if np.isnan(m := measured.get(name, np.nan)) else m for name in self._names()
                },
                dominated=bool(dominated[i]),
            )

    @property
    def F(self) -> Floats:  # noqa: N802
        """Predicted objectives, shape (n, m), all minimised."""
        return self._objectives(self.predicted)

    @property
    def best_known(self) -> Metrics:
        """Each metric's best known values."""
        best = dict(self.predicted)
        for name, values in self.measured.items():
            best[name] = np.where(np.isnan(values), best[name], values) if name in best else values
        return best

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Which candidates have all those objectives measured that were measured for any of them, shape (n,)."""
        columns = [~np.isnan(self.measured[name]) for name in self.objectives if name in self.measured]
        columns = [column for column in columns if column.any()]
        return np.logical_and.reduce(columns) if columns else np.zeros(len(self), dtype=bool)

    @property
    def dominated(self) -> NDArray[np.bool_]:
        """Which candidates another one of the same standing dominates, shape (n,).

        Measured candidates are compared with measured ones by best known values, the others among themselves by
        predicted values: a prediction must not beat a measurement only because it is too hopeful.
        """
        result = np.zeros(len(self), dtype=bool)
        measured = self.is_measured
        for F, rows in ((self._objectives(self.best_known), measured), (self.F, ~measured)):
            result[rows] = ~non_dominated(F[rows])
        return result

    def with_measured(self, measured: Mapping[str, Floats]) -> Self:
        """The same candidates with measured values (n,) in their own unit, NaN where there is none."""
        return type(self)(self.objectives, self.genomes, self.ids, self.predicted, _filled(measured, len(self)))

    def take(self, rows: Rows | NDArray[np.bool_]) -> Self:
        """Some of the candidates, in the order given."""
        return type(self)(
            self.objectives,
            self.genomes[rows],
            self.ids[rows],
            {name: values[rows] for name, values in self.predicted.items()},
            {name: values[rows] for name, values in self.measured.items()},
        )

    def columns(self) -> dict[str, Column]:
        """What `query` may speak of, each of shape (n,).

        ``METRIC`` (its best known value), ``predicted_METRIC``, ``measured_METRIC`` and ``dominated``.
        """
        return {
            **self.best_known,
            **{f"predicted_{name}": values for name, values in self.predicted.items()},
            **{f"measured_{name}": values for name, values in self.measured.items()},
            "dominated": self.dominated,
        }

    def query(self, text: str) -> Self:
        """The candidates that meet a condition such as ``latency_ms <= 5 and top1 >= 0.9``; see `query.select`.

        Raises:
            UnknownNameError: the condition names something that is not among `columns`.
            InvalidQueryError: the condition can not be read.
        """
        return self.take(select(text, self.columns()))

    def spread(self, k: int) -> Rows:
        """Places of ``k`` candidates spread over the front, by predicted objectives; see `spread`."""
        return spread(self.F, k)

    def hypervolume(self, reference: Floats) -> float:
        """Share of the box up to ``reference`` (m,) that best known values dominate; see module `hypervolume`."""
        return indicator.hypervolume(self._objectives(self.best_known), reference)

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row per candidate: ``id``, `columns`, and ``genome`` as a tuple of choice indices."""
        import pandas as pd

        genomes = [tuple(row) for row in self.genomes.tolist()]
        return pd.DataFrame({"id": self.ids, **self.columns(), "genome": pd.Series(genomes, dtype=object)})

    def _objectives(self, metrics: Metrics) -> Floats:
        return np.stack([minimised(name, metrics[name]) for name in self.objectives], axis=1)

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self.predicted, *self.measured]))


def _filled(measured: Mapping[str, Floats], n: int) -> Metrics:
    filled = {name: np.asarray(values, dtype=np.float64) for name, values in measured.items()}
    for name, values in filled.items():
        if values.shape != (n,):
            raise ValueError(f"measured {name} of {n} candidates must have shape ({n},), got {values.shape}")
    return filled
