"""What the baselines see of genomes, on one common scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.features import FeatureMap
from bitfront.predictors.kernels import scale_of
from bitfront.supernet.genes import Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]
STEPS, ONE_HOT = "steps", "one_hot"
FEATURES = (STEPS, ONE_HOT)
_FULL_BITS = 32


class Columns:
    """``steps``: those of `FeatureMap`; ``one_hot``: those of `SearchSpace.encode`.

    Policy columns are all 0 exactly where every active format is fp32, so that pairs measured in real numbers can
    be joined with quantized ones; so ``one_hot`` has no columns of fp32.
    """

    def __init__(self, space: SearchSpace, features: str) -> None:
        self._space = space
        self._map = FeatureMap(space) if features == STEPS else None
        self._policy = _quantizing(space)

    def __call__(self, genomes: Genomes) -> tuple[Floats, Floats]:
        """(architecture (n, a), policy (n, p)) of canonical genomes (n, n_genes)."""
        if self._map is not None:
            architecture, policy = self._map(genomes)
        else:
            encoded = self._space.encode(genomes)
            architecture, policy = encoded[:, : self._space.architecture_width], encoded[:, self._policy]
        return architecture.astype(np.float64), policy.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Columns x become (x - centre) * scale, so that rows lie at a mean squared distance of 1 from the centre.

    All columns share one scale: which of them vary much is worth knowing. A length scale of 1 suits such rows.
    """

    centre: Floats
    scale: float

    @classmethod
    def of(cls, x: Floats) -> Scaling:
        """The scaling of rows like these, (n, d)."""
        return cls(x.mean(axis=0), scale_of(x))

    def __call__(self, x: Floats) -> Floats:
        """Rows (n, d) as the regressors take them."""
        return (x - self.centre) * self.scale


def _quantizing(space: SearchSpace) -> list[int]:
    """Columns of the encoding that stand for a format other than fp32."""
    return [
        int(column) + j
        for gene, column in zip(space.genes, space.columns, strict=True)
        if gene.is_policy
        for j, choice in enumerate(gene.choices)
        if FORMATS.get(str(choice)).storage_bits < _FULL_BITS
    ]
