"""How far candidates are from each other, for Gaussian processes: maps of `FeatureMap.raw` columns to points.

Genes count as one-hot columns, so that all choices of a gene are equally far apart, and a little by what they
weigh. What quantization costs is told by few pairs; so there "at least choice j" summed over layers, which says
what a gene's role does on average, counts too. Weights were found by measurement on two supernets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.features import FeatureMap, Floats32, role

_NUMBERS = 0.25
_SUMS = 0.6
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distance:
    """Squared distances of columns a and b (r,): ``|diagonal * (a - b)|^2 + |(a - b) @ sums|^2``.

    Attributes:
        diagonal: (r,).
        sums: (r, s); s may be 0.
    """

    diagonal: Floats32
    sums: Floats32

    def points(self, columns: Floats32) -> Floats:
        """Points (n, r + s) that are as far from each other as columns (n, r)."""
        wide = columns.astype(np.float64)
        return np.concatenate([wide * self.diagonal, wide @ self.sums], axis=1)

    def scaled(self, factor: float | Floats) -> Self:
        """All ``factor`` times as far; or columns by factors (r,) of their own."""
        by = np.broadcast_to(np.asarray(factor, dtype=np.float32), self.diagonal.shape)
        return replace(self, diagonal=self.diagonal * by, sums=self.sums * by[:, None])


def by_gene(features: FeatureMap, with_policy: bool) -> Distance:
    """Of all raw columns, or of those of the architecture alone."""
    sizes, bits = _widths(features)
    genes = features.space.encoding_width if with_policy else features.space.architecture_width
    ends = [np.full(sizes, _NUMBERS), np.ones(genes), np.full(bits if with_policy else 0, _NUMBERS)]
    diagonal = np.concatenate(ends).astype(np.float32)
    return Distance(diagonal, np.zeros((len(diagonal), 0), dtype=np.float32))


def by_gene_and_role(features: FeatureMap) -> Distance:
    """Of all raw columns, by what roles do on average, too."""
    (sizes, _), (architecture, policy) = _widths(features), features.sums
    plain = by_gene(features, with_policy=True)
    sums = np.zeros((len(plain.diagonal), architecture.shape[1] + policy.shape[1]), dtype=np.float32)
    end = sizes + len(architecture)
    sums[sizes:end, : architecture.shape[1]] = _SUMS * architecture
    sums[end : end + len(policy), architecture.shape[1] :] = _SUMS * policy
    return replace(plain, sums=sums)


def roles(features: FeatureMap, with_policy: bool) -> NDArray[np.intp]:
    """Ids (r,) of raw columns, equal for the same kind of choice (all kernels, all widths, all numbers, ...)."""
    sizes, bits = _widths(features)
    names = ["architecture numbers"] * sizes
    for gene in features.space.genes:
        if with_policy or not gene.is_policy:
            names += [role(gene.name)] * len(gene.choices)
    names += ["policy numbers"] * (bits if with_policy else 0)
    return np.unique(names, return_inverse=True)[1]


def _widths(features: FeatureMap) -> tuple[int, int]:
    """How many numbers there are of the architecture, and of the policy."""
    sizes, bits = features.numbers(features.space.extremes()[:1])
    return sizes.shape[1], bits.shape[1]
