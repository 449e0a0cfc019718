"""A Gaussian process in closed form: what decides how many samples are measured, and which.

Both decisions are made again and again while samples come in, so that what they rest on must cost little: a
predictor of any kind, fitted anew and cross-validated every round, would cost more than measuring. The process
gives its leave-one-out predictions without fitting again, and knows how sure it will be once a candidate is
measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import ndtri

from bitfront.predictors.dataset import Pairs
from bitfront.predictors.distance import Distance, by_gene, by_gene_and_role
from bitfront.predictors.features import FeatureMap
from bitfront.predictors.kernels import Floats, Kernel, likeliest, scale_of
from bitfront.predictors.metrics import pairwise_accuracy
from bitfront.predictors.predictor import COVERAGE
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_Z = float(ndtri((1 + COVERAGE) / 2))


@dataclass(frozen=True)
class Inputs:
    """Points at which `Surrogate` compares candidates, as `distance` says: by their architecture, and by their
    policy where ``policy`` is set; by one ``factor``, so that those that it was made of lie at a distance of 1
    from their centre in the root mean square.
    """

    features: FeatureMap
    policy: bool
    factor: float = 1.0

    @classmethod
    def of(cls, space: SearchSpace, genomes: Genomes, policy: bool) -> Self:
        """As canonical ``genomes`` (n, n_genes) are spread."""
        plain = cls(FeatureMap(space), policy)
        return cls(plain.features, policy, scale_of(plain(genomes)))

    def __call__(self, genomes: Genomes) -> Floats:
        """Points (n, d) of canonical genomes (n, n_genes)."""
        raw = self.features.raw(genomes)[:, : len(self._distance.diagonal)]
        return self._distance.points(raw) * self.factor

    @cached_property
    def _distance(self) -> Distance:
        return by_gene_and_role(self.features) if self.policy else by_gene(self.features, with_policy=False)


@dataclass(frozen=True)
class Surrogate:
    """Accuracy as a Gaussian process over genes (Rasmussen and Williams 2006, chapters 2 and 5).

    Of fp32 pairs it learns by architecture alone; of quantized ones it learns by how much they differ from what
    the surrogate of fp32 pairs says.

    Attributes:
        before: of fp32 pairs, where it learned quantized ones.
        pairs: what was learned.
        points: where its genomes are, (n, d), as ``inputs`` says.
        residuals: accuracies minus ``offset`` and minus what was predicted before, (n,).
    """

    inputs: Inputs
    before: Surrogate | None
    pairs: Pairs
    points: Floats
    residuals: Floats
    offset: float
    kernel: Kernel
    variance: float

    @classmethod
    def fit(cls, space: SearchSpace, pairs: Pairs, before: Surrogate | None = None, policy: bool = False) -> Self:
        """Learn from fp32 pairs, or, with the surrogate ``before`` of those, from quantized ones.

        With ``policy``, learn architecture and policy at once, from pairs of any formats.

        Raises:
            InvalidGenomeError: a genome is not of ``space``. InvalidPairsError: fewer than two different genomes.
        """
        pairs = pairs.checked(space)
        inputs = Inputs.of(space, pairs.genomes, policy or before is not None)
        points = inputs(pairs.genomes)
        left = pairs.accuracy if before is None else pairs.accuracy - before.mean(pairs.genomes)
        offset = float(left.mean())
        found = likeliest(points, left - offset)
        return cls(inputs, before, pairs, points, left - offset, offset, found.kernel, found.variance)

    @cached_property
    def _factor(self) -> tuple[Floats, bool]:
        return cast(tuple[Floats, bool], cho_factor(self.kernel.of(self.points), lower=True))

    @cached_property
    def _solved(self) -> Floats:
        return np.asarray(cho_solve(self._factor, self.residuals), dtype=np.float64)

    def mean(self, genomes: Genomes) -> Floats:
        """Expected accuracy (n,) of canonical genomes (n, n_genes)."""
        return self._mean(genomes, self.kernel.between(self.inputs(genomes), self.points))

    def left_out(self) -> Floats:
        """Expected differences of accuracy (n, n), row minus column, of the pairs learned, of each two from all
        others (their equation 5.12 for two at a time).

        Of one alone, expectations would go against what was measured: the rest of a mean lies on its other side.
        Where both are left out, there is no such bias (Airola et al. 2011).
        """
        inverse = cho_solve(self._factor, np.eye(len(self.pairs)))
        own, solved = np.diag(inverse), self._solved
        with np.errstate(invalid="ignore", divide="ignore"):  # a pair is no two
            errors = (own * solved[:, None] - inverse * solved) / (own[:, None] * own - np.square(inverse))
        measured = self.pairs.accuracy[:, None] - self.pairs.accuracy
        expected = np.asarray(measured - (errors - errors.T), dtype=np.float64)
        np.fill_diagonal(expected, 0.0)
        return expected

    def left_out_accuracy(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> float:
        """Pairwise accuracy, 0..1, of `left_out` among some of the pairs; 0.5 where all are measured as equal."""
        measured = self.pairs.accuracy[rows]
        differing = np.sign(measured[:, None] - measured)
        counting = differing != 0
        right = (np.sign(self.left_out()[rows][:, rows]) * differing)[counting]
        return float((1 + right.mean()) / 2) if counting.any() else 0.5

    def part_accuracy(self, rows: NDArray[np.intp], others: NDArray[np.intp]) -> float:
        """Pairwise accuracy, 0..1, on ``others`` of the pairs of the process that knows ``rows`` alone.

        Length and noise are those of all pairs.
        """
        factor = cho_factor(self.kernel.of(self.points[rows]), lower=True)
        solved = cho_solve(factor, self.residuals[rows])
        said = self.kernel.between(self.points[others], self.points[rows]) @ solved
        measured = self.pairs.accuracy[others]
        return pairwise_accuracy(measured - self.residuals[others] + said, measured)

    def outlook(self, genomes: Genomes) -> Outlook:
        """What is known of canonical genomes (n, n_genes), and what measuring some of them would change."""
        points = self.inputs(genomes)
        across = self.kernel.between(self.points, points)
        known = solve_triangular(self._factor[0], across, lower=True)
        return Outlook(self._mean(genomes, across.T), points, self.kernel, self.variance, known)

    def _mean(self, genomes: Genomes, across: Floats) -> Floats:
        mean: Floats = self.offset + across @ self._solved
        return mean if self.before is None else mean + self.before.mean(genomes)


class Outlook:
    """What a process expects of n candidates, and how sure it will be of them when some of them are measured too.

    Of a Gaussian process the variances do not depend on what is measured, only on where.

    Attributes:
        mean: expected accuracies (n,).
    """

    def __init__(self, mean: Floats, points: Floats, kernel: Kernel, variance: float, known: Floats) -> None:
        self.mean = mean
        self._points = points
        self._kernel = kernel
        self._variance = variance
        self._known = [known]
        self._left = 1 - np.square(known).sum(axis=0)

    @property
    def half_width(self) -> Floats:
        """Of intervals for what would be measured, (n,); not calibrated."""
        return _half_width(self._left, self._kernel, self._variance)

    @property
    def measured_variance(self) -> Floats:
        """Variance of what would be measured, (n,), as a multiple of that of the process."""
        return np.asarray(np.maximum(self._left, 0.0) + self._kernel.noise, dtype=np.float64)

    def covariance(self, rows: NDArray[np.intp]) -> Floats:
        """Of all candidates with some of them, (n, k), as a multiple of the variance of the process."""
        known = np.concatenate(self._known)
        return self._kernel.between(self._points, self._points[rows]) - known.T @ known[:, rows]

    def measure(self, row: int) -> Floats:
        """Suppose that this candidate is measured: a step of an incomplete Cholesky factorisation.

        Returns:
            Its factor (n,): covariances of candidates i and j have become less by ``factor[i] * factor[j]``.
        """
        known = np.concatenate(self._known)
        column = self._kernel.between(self._points, self._points[[row]])[:, 0] - known[:, row] @ known
        new = column / math.sqrt(max(self._left[row], 0.0) + self._kernel.noise)
        self._known = [known, new[None]]
        self._left = self._left - np.square(new)
        return np.asarray(new, dtype=np.float64)


def _half_width(left: Floats, kernel: Kernel, variance: float) -> Floats:
    return np.asarray(_Z * np.sqrt((np.maximum(left, 0.0) + kernel.noise) * variance), dtype=np.float64)
