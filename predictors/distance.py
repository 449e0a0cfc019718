"""How far candidates are from each other, for Gaussian processes: linear maps of `FeatureMap.raw` to points.

Genes count as one-hot columns, so that all choices of a gene are equally far apart, and a little by what they
weigh. What quantization costs is told by few pairs; so there "at least choice j" and its sums over layers, which
say what a gene's role does on average, count too. Weights were found by measurement on two supernets.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from bitfront.predictors.features import FeatureMap, Floats32

_NUMBERS = 0.25
_STEPS = 0.5


def by_gene(features: FeatureMap, with_policy: bool) -> Floats32:
    """Diagonal map (r, r) of all raw columns, or of those of the architecture alone."""
    sizes, bits = _widths(features)
    genes = features.space.encoding_width if with_policy else features.space.architecture_width
    ends = [np.full(sizes, _NUMBERS), np.ones(genes), np.full(bits if with_policy else 0, _NUMBERS)]
    return np.diag(np.concatenate(ends)).astype(np.float32)


def by_gene_and_role(features: FeatureMap) -> Floats32:
    """Map (r, k) of all raw columns, with steps and their sums beside them."""
    sizes, bits = _widths(features)
    steps = block_diag(np.zeros((sizes, 0)), features.architecture, features.policy, np.zeros((bits, 0)))
    return np.concatenate([by_gene(features, True), _STEPS * steps], axis=1).astype(np.float32)


def roles(features: FeatureMap, with_policy: bool) -> NDArray[np.intp]:
    """Ids (r,) of raw columns, equal for the same kind of choice (all kernels, all widths, all numbers, ...)."""
    sizes, bits = _widths(features)
    names = ["architecture numbers"] * sizes
    for gene in features.space.genes:
        if with_policy or not gene.is_policy:
            names += [re.sub(r"\d+", "", gene.name)] * len(gene.choices)
    names += ["policy numbers"] * (bits if with_policy else 0)
    return np.unique(names, return_inverse=True)[1]


def _widths(features: FeatureMap) -> tuple[int, int]:
    """How many numbers there are of the architecture, and of the policy."""
    sizes, bits = features.numbers(features.space.extremes()[:1])
    return sizes.shape[1], bits.shape[1]
