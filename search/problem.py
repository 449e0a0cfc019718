"""What is searched for: objectives and constraints over a space. Signs are flipped here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import (
    METRICS,
    Constraint,
    Floats,
    InvalidConstraintError,
    check_metric,
    parse_constraint,
)
from bitfront.supernet.errors import BitfrontError, NumericalError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

__all__ = [
    "METRICS",
    "Constraint",
    "Evaluation",
    "InfeasibleError",
    "InvalidConstraintError",
    "InvalidObjectivesError",
    "Problem",
    "minimised",
    "parse_constraint",
]

Metrics = dict[str, Floats]


class InvalidObjectivesError(BitfrontError):
    """The list of objectives is empty or repeats itself."""


class InfeasibleError(BitfrontError):
    """No candidate meets the constraints."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of n candidates.

    ``F`` (n, m): objectives, all minimised. ``G`` (n, c): relative excess over each constraint, <= 0 where it
    is met. ``metrics``: every metric known, each of shape (n,), in its own unit and sign. ``errors``: row to
    error of candidates that failed for good; their F and G are infinite, their metrics NaN.
    """

    F: Floats
    G: Floats
    metrics: Metrics
    errors: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.F)

    @property
    def violation(self) -> Floats:
        """Summed relative excess over the constraints that are missed, shape (n,); 0 is feasible."""
        total: Floats = np.maximum(self.G, 0.0).sum(axis=1)
        total[~np.isfinite(self.F).all(axis=1)] = np.inf
        return total

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether every constraint is met, shape (n,)."""
        return np.asarray((self.G <= 0).all(axis=1) & np.isfinite(self.F).all(axis=1))

    def take(self, rows: NDArray[np.intp]) -> Evaluation:
        """The scores of some candidates."""
        metrics = {name: values[rows] for name, values in self.metrics.items()}
        places = {int(row): place for place, row in enumerate(rows)} if self.errors else {}
        errors = {places[row]: error for row, error in self.errors.items() if row in places}
        return Evaluation(self.F[rows], self.G[rows], metrics, errors)


def minimised(metric: str, values: Floats) -> Floats:
    """A metric as an objective: top1 becomes top-1 error, costs stay what they are."""
    return 1.0 - values if METRICS[metric] == "max" else values


class Problem:
    """Objectives and constraints over a space.

    Args:
        space: where candidates come from; what is fixed or forbidden was restricted before.
        objectives: metrics to make as good as can be, in the order of F's columns.
        predict: genomes (n, n_genes) to top1 (n,) as a fraction; asked only where top1 matters.
        cost: genomes (n, n_genes) to every cost the device has, each (n,).
        constraints: hard limits on any metric, in the order of G's columns.

    Raises:
        UnknownNameError: an objective is no metric.
        InvalidObjectivesError: there is no objective, or one comes twice.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str],
        predict: Callable[[Genomes], Floats],
        cost: Callable[[Genomes], Mapping[str, Floats]],
        constraints: Sequence[Constraint] = (),
    ) -> None:
        check_objectives(objectives)
        self.space = space
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.predict = predict
        self.cost = cost
        self._needed = (*self.objectives, *(constraint.metric for constraint in self.constraints))

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Score canonical genomes of the space, shape (n, n_genes).

        Raises:
            UnsupportedError: the device does not give a cost that is asked for.
            NumericalError: a metric came out as NaN or infinite; the message names metric, row and genome.
        """
        metrics = {name: np.asarray(values, np.float64) for name, values in self.cost(genomes).items()}
        if "top1" in self._needed:
            metrics["top1"] = np.asarray(self.predict(genomes), np.float64)
        for name, values in metrics.items():
            _check(name, values, genomes)
        return self.judge(metrics)

    def judge(self, metrics: Mapping[str, Floats]) -> Evaluation:
        """Objectives and constraints from metrics that are already known, each of shape (n,).

        Raises:
            UnsupportedError: a metric that is asked for is missing.
        """
        missing = [name for name in self._needed if name not in metrics]
        if missing:
            raise UnsupportedError(
                f"this device gives no {missing[0]} (it gives {', '.join(sorted(metrics))}): "
                f"drop {missing[0]} from objectives and constraints, or choose another device"
            )
        n = len(metrics[self._needed[0]])
        F = np.stack([minimised(name, metrics[name]) for name in self.objectives], axis=1)
        G = np.empty((n, len(self.constraints)))
        for column, constraint in enumerate(self.constraints):
            G[:, column] = constraint.excess(metrics[constraint.metric])
        return Evaluation(F, G, dict(metrics))

    def explain_infeasible(self, evaluation: Evaluation) -> InfeasibleError:
        """The error for a search in which no candidate of ``evaluation`` was feasible."""
        reached = []
        for constraint in self.constraints:
            values = evaluation.metrics[constraint.metric]
            best = values[constraint.closest(values)]
            word = "met alone" if constraint.excess(np.array([best]))[0] <= 0 else "never met"
            reached.append(f"{constraint} ({word}, best value seen {best:.6g})")
        return InfeasibleError(
            f"none of {len(evaluation)} candidates meets the constraints: {'; '.join(reached)}. "
            "Loosen a bound, free a restricted gene, or search longer."
        )


def check_objectives(objectives: Sequence[str]) -> None:
    """Accept a list of different known metrics.

    Raises:
        UnknownNameError: an objective is no metric.
        InvalidObjectivesError: there is no objective, or one comes twice.
    """
    for name in objectives:
        check_metric(name)
    if not objectives:
        raise InvalidObjectivesError(f"there is no objective: name at least one of {', '.join(METRICS)}")
    twice = [name for name in objectives if list(objectives).count(name) > 1]
    if twice:
        raise InvalidObjectivesError(f"objective {twice[0]!r} comes twice: name each one once")


def _check(name: str, values: Floats, genomes: Genomes) -> None:
    if values.shape != (len(genomes),):
        raise ValueError(f"{name} of {len(genomes)} genomes must have shape ({len(genomes)},), got {values.shape}")
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise NumericalError(
            f"{name} of candidate {row} is {values[row]}: its genome is {genomes[row].tolist()}. "
            "Check the predictor or the device table that gave it."
        )
