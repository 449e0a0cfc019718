"""What an accuracy predictor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.dataset import Pairs
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

COVERAGE = 0.9
"""The share of new candidates that ``mean`` plus or minus ``half_width`` is meant to hold."""


class OtherSpaceError(BitfrontError):
    """A stored predictor belongs to another space."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Expected top-1 accuracy ``mean`` (n,), a fraction, and ``half_width`` (n,) of its `COVERAGE` interval."""

    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]


class AccuracyPredictor(ABC):
    """Predicts the accuracy of candidates of one space, and says how sure it is."""

    @classmethod
    @abstractmethod
    def fit(cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator) -> Self:
        """Learn from fp32 pairs, by architecture alone.

        Raises:
            InvalidPairsError: too few pairs. InvalidGenomeError: a genome is not of ``space``.
            NumericalError: fitting diverged.
        """

    @classmethod
    @abstractmethod
    def from_scratch(cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator) -> Self:
        """Learn from quantized pairs alone, architecture and policy together: the baseline of `transfer`."""

    @abstractmethod
    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """A predictor of quantized candidates that starts from this one; this one stays as it is."""

    @abstractmethod
    def predict(self, genomes: Genomes) -> Prediction:
        """Accuracy of canonical genomes, shape (n, n_genes). Rows do not influence each other."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the predictor as safetensors with a manifest."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path, space: SearchSpace) -> Self:
        """Read back what `save` wrote.

        Raises:
            MissingFileError, CorruptFileError: as `files.load_tensors`.
            OtherSpaceError: it was made for another space; the message names genes that differ.
        """
