"""Encodings, seen as ordered steps beside a few numbers: the inputs of the MLP.

Choices are ordered (kernels and widths from small to large, formats from wide to narrow), which one-hot columns
hide. A gene with k choices becomes steps "at least choice j"; the same steps summed over all genes of a role
(every kernel, every depthwise weight format, ...) are added, so that few pairs already say what the role does on
average. The map is linear and keeps everything: different encodings have different features. What a network
weighs is added as `NumericFeatures`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from bitfront.predictors.numeric import NumericFeatures
from bitfront.supernet.genes import Gene, Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

_SHARED = 2.0
_NUMERIC = 4.0
_FULL_BITS = 32
_DRAWN = 512
_NEVER_VARIES = 1e-6
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureMap:
    """Features of a space's genomes: architecture first, policy after it, as in `SearchSpace.encode`.

    Policy features are all 0 exactly where every active format is fp32, so that a network that is not
    quantized looks to a transferred predictor as it did before; a space without fp32 has no such genome.

    Args:
        space: whose genomes are described.
        numeric: whether what networks weigh is among the features, after the steps of its part.
    """

    space: SearchSpace
    numeric: bool = True

    @cached_property
    def architecture(self) -> Floats32:
        """Linear map of the architecture columns to steps, shape (architecture_width, steps)."""
        return self._steps(policy=False)[: self.space.architecture_width]

    @cached_property
    def policy(self) -> Floats32:
        """Linear map of the policy columns to steps, shape (encoding_width - architecture_width, steps)."""
        return self._steps(policy=True)[self.space.architecture_width :]

    def __call__(self, genomes: Genomes) -> tuple[Floats32, Floats32]:
        """(architecture features (n, a), policy features (n, p)) of canonical genomes (n, n_genes)."""
        encoded = self.space.encode(genomes)
        width = self.space.architecture_width
        architecture, policy = encoded[:, :width] @ self.architecture, encoded[:, width:] @ self.policy
        if not self.numeric:
            return architecture, policy
        sizes, bits = self.numbers(genomes)
        return np.concatenate([architecture, sizes], axis=1), np.concatenate([policy, bits], axis=1)

    def raw(self, genomes: Genomes) -> Floats32:
        """What the features are a linear map of, (n, r): numbers of the architecture, the encoding, numbers of the
        policy. The first `raw_architecture` columns know nothing of the policy.
        """
        sizes, bits = self.numbers(genomes)
        return np.concatenate([sizes, self.space.encode(genomes), bits], axis=1)

    @cached_property
    def raw_architecture(self) -> int:
        """How many columns of `raw` are about the architecture."""
        return len(self.matrices[0])

    @cached_property
    def matrices(self) -> tuple[Floats32, Floats32]:
        """Maps from the columns of `raw` about architecture and about the policy to the features of each."""
        sizes, bits = (part.shape[1] for part in self.numbers(self.space.extremes()[:1]))
        return (
            np.roll(block_diag(self.architecture, np.eye(sizes)), sizes, axis=0).astype(np.float32),
            block_diag(self.policy, np.eye(bits)).astype(np.float32),
        )

    def numbers(self, genomes: Genomes) -> tuple[Floats32, Floats32]:
        """The numeric features alone, as wide as steps are together; (n, 0) each where there are none."""
        if not self.numeric:
            none = np.empty((len(genomes), 0), dtype=np.float32)
            return none, none
        sizes, bits = self._numbers(genomes)
        centre, size_scale, bit_scale = self._scales
        return (sizes - centre) * size_scale, bits * bit_scale

    @cached_property
    def _numbers(self) -> NumericFeatures:
        return NumericFeatures(self.space)

    @cached_property
    def _scales(self) -> tuple[Floats32, Floats32, Floats32]:
        """Centre of the sizes, and factors that make numbers `_NUMERIC` times as wide as an average step."""
        genomes = _of_all_sizes(self.space)
        steps = FeatureMap(self.space, numeric=False)(genomes)
        numbers = self._numbers(genomes)
        wide = [_NUMERIC * np.sqrt(part.var(axis=0).mean()) if part.size else 1.0 for part in steps]
        size_scale, bit_scale = (_factors(width, part) for width, part in zip(wide, numbers, strict=True))
        return numbers[0].mean(axis=0), size_scale, bit_scale

    @cached_property
    def sums(self) -> tuple[Floats32, Floats32]:
        """Linear maps of the encoding's architecture columns, and of its policy columns, to steps summed by role.

        Shapes (architecture_width, s) and (encoding_width - architecture_width, t).
        """
        width = self.space.architecture_width
        architecture, policy = (_stacked(self._steps_and_sums(part)[1], self.space) for part in (False, True))
        return architecture[:width], policy[width:]

    def _steps(self, policy: bool) -> Floats32:
        steps, sums = self._steps_and_sums(policy)
        return _stacked([*steps, *sums], self.space)

    def _steps_and_sums(self, policy: bool) -> tuple[list[Floats32], list[Floats32]]:
        steps: list[Floats32] = []
        roles: dict[tuple[str, int], list[Floats32]] = {}
        for gene, column in zip(self.space.genes, self.space.columns, strict=True):
            if gene.is_policy == policy:
                for j in range(_first_step(gene), len(gene.choices)):
                    step = np.zeros(self.space.encoding_width, dtype=np.float32)
                    step[column + j : column + len(gene.choices)] = 1
                    steps.append(step)
                    roles.setdefault((role(gene.name), j), []).append(step)
        sums = [_SHARED * np.sum(part, axis=0) / np.sqrt(len(part)) for part in roles.values() if len(part) > 1]
        return steps, sums


def _stacked(columns: list[Floats32], space: SearchSpace) -> Floats32:
    """(encoding_width, columns); there may be none, where nothing about a part of the genome is ever chosen."""
    return np.array(columns, dtype=np.float32).reshape(len(columns), space.encoding_width).T.copy()


def _of_all_sizes(space: SearchSpace) -> Genomes:
    """Genomes from small to large, whatever restrictions the space has now: a stored predictor counts on them."""
    rng = np.random.default_rng(0)
    most = np.array([len(gene.choices) - 1 for gene in space.genes])
    lean = rng.uniform(size=(_DRAWN, 1))
    return space.canonical(rng.binomial(most, lean).astype(np.uint8))


def _factors(width: float, numbers: Floats32) -> Floats32:
    """What makes numbers (n, d) as wide as ``width``; 0 for those that never vary, which say nothing."""
    spread = numbers.std(axis=0)
    return np.where(spread > _NEVER_VARIES, width / np.maximum(spread, _NEVER_VARIES), 0.0).astype(np.float32)


def _first_step(gene: Gene) -> int:
    """1 where the first choice needs no step of its own: fp32, or a gene that is always active."""
    if gene.is_policy:
        return int(FORMATS.get(str(gene.choices[0])).storage_bits >= _FULL_BITS)
    return int(gene.active_if is None)


def role(name: str) -> str:
    """What a gene of this name chooses, whichever layer it is about."""
    return re.sub(r"\d+", "", name)
