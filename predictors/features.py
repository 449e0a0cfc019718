"""Encodings, seen as ordered steps: the inputs of the MLP.

Choices are ordered (kernels and widths from small to large, formats from wide to narrow), which one-hot columns
hide. A gene with k choices becomes steps "at least choice j"; the same steps summed over all genes of a role
(every kernel, every depthwise weight format, ...) are added, so that few pairs already say what the role does on
average. The map is linear and keeps everything: different encodings have different features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Gene, Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

_SHARED = 2.0
_FULL_BITS = 32
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureMap:
    """Features of a space's genomes: architecture first, policy after it, as in `SearchSpace.encode`.

    Policy features are all 0 exactly where every active format is fp32, so that a network that is not
    quantized looks to a transferred predictor as it did before; a space without fp32 has no such genome.
    """

    space: SearchSpace

    @cached_property
    def architecture(self) -> Floats32:
        """Linear map of the architecture columns, shape (architecture_width, features)."""
        return self._steps(policy=False)[: self.space.architecture_width]

    @cached_property
    def policy(self) -> Floats32:
        """Linear map of the policy columns, shape (encoding_width - architecture_width, features)."""
        return self._steps(policy=True)[self.space.architecture_width :]

    def __call__(self, genomes: Genomes) -> tuple[Floats32, Floats32]:
        """(architecture features (n, a), policy features (n, p)) of canonical genomes (n, n_genes)."""
        encoded = self.space.encode(genomes)
        width = self.space.architecture_width
        return encoded[:, :width] @ self.architecture, encoded[:, width:] @ self.policy

    def _steps(self, policy: bool) -> Floats32:
        steps: list[Floats32] = []
        roles: dict[tuple[str, int], list[Floats32]] = {}
        for gene, column in zip(self.space.genes, self.space.columns, strict=True):
            if gene.is_policy == policy:
                for j in range(_first_step(gene), len(gene.choices)):
                    step = np.zeros(self.space.encoding_width, dtype=np.float32)
                    step[column + j : column + len(gene.choices)] = 1
                    steps.append(step)
                    roles.setdefault((_role(gene), j), []).append(step)
        shared = [_SHARED * np.sum(part, axis=0) / np.sqrt(len(part)) for part in roles.values() if len(part) > 1]
        return np.stack([*steps, *shared], axis=1).astype(np.float32)


def _first_step(gene: Gene) -> int:
    """1 where the first choice needs no step of its own: fp32, or a gene that is always active."""
    if gene.is_policy:
        return int(FORMATS.get(str(gene.choices[0])).storage_bits >= _FULL_BITS)
    return int(gene.active_if is None)


def _role(gene: Gene) -> str:
    return re.sub(r"\d+", "", gene.name)
