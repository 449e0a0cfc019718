"""What is searched for: objectives and constraints over a space. Signs are flipped here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import (
    METRICS,
    Constraint,
    Floats,
    InvalidConstraintError,
    Sense,
    base_metric,
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

Extreme = Callable[[str, Sense], tuple[float, NDArray[np.uint8]] | None]
"""The smallest value of a metric that any candidate reaches (for ``<=``; the largest for ``>=``) and the genome
that does; None where that is not known exactly."""

_LOST = "this candidate failed in an earlier run"


class InvalidObjectivesError(BitfrontError):
    """The list of objectives is empty or repeats itself."""


class InfeasibleError(BitfrontError):
    """No candidate meets the constraints."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of n candidates.

    ``F`` (n, m): objectives, all minimised. ``G`` (n, c): relative excess over each constraint, <= 0 where it
    is met. ``metrics``: every metric known, each of shape (n,), in its own unit and sign. ``errors`` maps the
    rows of candidates that failed for good to why they did: their F and G are +inf and their metrics NaN, so
    that they are known, but never feasible and worse than everything else.
    """

    F: Floats
    G: Floats
    metrics: Metrics
    errors: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.F)

    @property
    def violation(self) -> Floats:
        """Summed relative excess over the constraints that are missed, (n,); 0 is feasible, +inf failed."""
        total: Floats = np.maximum(self.G, 0.0).sum(axis=1)
        total[list(self.errors)] = np.inf
        return total

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether every constraint is met, shape (n,); what failed meets none."""
        met = np.asarray((self.G <= 0).all(axis=1))
        met[list(self.errors)] = False
        return met

    def take(self, rows: NDArray[np.intp]) -> Evaluation:
        """The scores of some candidates; each error goes with its row."""
        metrics = {name: values[rows] for name, values in self.metrics.items()}
        return Evaluation(self.F[rows], self.G[rows], metrics, self._errors_of(rows))

    def _errors_of(self, rows: NDArray[np.intp]) -> dict[int, str]:
        if not self.errors:
            return {}
        places = np.arange(len(self))[rows]
        failed = np.isin(places, list(self.errors))
        return {int(new): self.errors[int(places[new])] for new in np.flatnonzero(failed)}


def minimised(metric: str, values: Floats) -> Floats:
    """A metric as an objective: top1 becomes top-1 error, costs stay what they are."""
    return 1.0 - values if METRICS[base_metric(metric)] == "max" else values


class Problem:
    """Objectives and constraints over a space.

    Args:
        space: where candidates come from; what is fixed or forbidden was taken out before (`SearchSpace.fix`).
        objectives: metrics to make as good as can be, in the order of F's columns.
        predict: genomes (n, n_genes) to top1 (n,) as a fraction; asked only where top1 matters.
        cost: genomes (n, n_genes) to every cost the device has, each (n,).
        constraints: hard limits on any metric, in the order of G's columns.
        extreme: what is known exactly of a cost before anything is searched, if it is; see `Extreme`.

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
        extreme: Extreme | None = None,
    ) -> None:
        check_objectives(objectives)
        self.space = space
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.predict = predict
        self.cost = cost
        self.extreme = extreme
        self._needed = (*self.objectives, *(constraint.metric for constraint in self.constraints))

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Score canonical genomes of the space, shape (n, n_genes).

        Raises:
            UnsupportedError: the device does not give a cost that is asked for.
            NumericalError: a metric came out as NaN or infinite; the message names metric, row and genome.
        """
        metrics = {name: np.asarray(values, np.float64) for name, values in self.cost(genomes).items()}
        metrics |= self._accuracy(genomes)
        for name, values in metrics.items():
            _check(name, values, genomes)
        return self.judge(metrics)

    def _accuracy(self, genomes: Genomes) -> Metrics:
        """The accuracies that objectives and constraints ask for, each (n,)."""
        if "top1" not in self._needed:
            return {}
        return {"top1": np.asarray(self.predict(genomes), np.float64)}

    def judge(self, metrics: Mapping[str, Floats], errors: Mapping[int, str] | None = None) -> Evaluation:
        """Objectives and constraints from metrics that are already known, each of shape (n,).

        ``errors`` names the rows that failed for good, and why. A row without a metric that is needed (NaN) has
        failed, too: that is how a failure is found again among stored metrics.

        Raises:
            UnsupportedError: a metric that is asked for is missing.
        """
        missing = [name for name in self._needed if name not in metrics]
        if missing:
            raise UnsupportedError(_not_given(missing[0], metrics))
        n = len(metrics[self._needed[0]])
        F = np.stack([minimised(name, metrics[name]) for name in self.objectives], axis=1)
        G = np.empty((n, len(self.constraints)))
        for column, constraint in enumerate(self.constraints):
            G[:, column] = constraint.excess(metrics[constraint.metric])
        return self._with_failures(F, G, metrics, errors or {})

    def _with_failures(
        self, F: Floats, G: Floats, metrics: Mapping[str, Floats], errors: Mapping[int, str]
    ) -> Evaluation:
        unknown = np.stack([np.isnan(metrics[name]) for name in self._needed], axis=1)
        failed = np.asarray(unknown.any(axis=1))
        failed[list(errors)] = True
        if not failed.any():
            return Evaluation(F, G, dict(metrics))
        F[failed], G[failed] = np.inf, np.inf
        known = {name: np.where(failed, np.nan, values) for name, values in metrics.items()}
        return Evaluation(F, G, known, {int(i): errors.get(int(i), _LOST) for i in np.flatnonzero(failed)})

    def explain_infeasible(self, evaluation: Evaluation) -> InfeasibleError:
        """The error for a search in which no candidate of ``evaluation`` was feasible."""
        reached = []
        scored = np.flatnonzero(np.isfinite(evaluation.F).all(axis=1))
        if not len(scored):
            return InfeasibleError(_all_failed(evaluation))
        for constraint in self.constraints:
            values = evaluation.metrics[constraint.metric][scored]
            best = values[constraint.closest(values)]
            word = "met alone" if constraint.excess(np.array([best]))[0] <= 0 else "never met"
            reached.append(f"{constraint} ({word}, best value seen {best:.6g})")
        return InfeasibleError(
            f"none of {len(evaluation)} candidates meets the constraints: {'; '.join(reached)}. "
            "Loosen a bound, free a restricted gene, or search longer."
        )


def _not_given(name: str, metrics: Collection[str]) -> str:
    base = base_metric(name)
    if base != name and base in metrics:
        return f"{name} is not known by device: write {base}, which is the same for all"
    of_devices = sorted(one for one in metrics if base_metric(one) == base)
    if of_devices:
        return f"there is no {name} here: write {' or '.join(of_devices)}, that of one device"
    return (
        f"this device gives no {name} (it gives {', '.join(sorted(metrics))}): "
        f"drop {name} from objectives and constraints, or choose another device"
    )


def _all_failed(evaluation: Evaluation) -> str:
    first = next(iter(evaluation.errors.values()), _LOST)
    return (
        f"all of {len(evaluation)} candidates failed, the first with: {first}. Mend what scores them, then resume."
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
