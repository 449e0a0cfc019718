"""Pairs of candidates and measured accuracies, from which predictors learn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace


class InvalidPairsError(BitfrontError):
    """Pairs that no predictor can learn from."""


@dataclass(frozen=True)
class Pairs:
    """``genomes`` uint8 (n, n_genes) and ``accuracy`` float64 (n,), a fraction from 0 to 1.

    Raises:
        InvalidPairsError: shapes do not fit, or an accuracy is NaN or out of range; the row is named.
    """

    genomes: Genomes
    accuracy: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.genomes.ndim != 2 or self.accuracy.shape != (len(self.genomes),):
            raise InvalidPairsError(
                f"genomes of shape {self.genomes.shape} and accuracies of shape {self.accuracy.shape} do not fit: "
                "expected (n, n_genes) and (n,)"
            )
        wrong = ~((self.accuracy >= 0) & (self.accuracy <= 1))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidPairsError(
                f"accuracy of row {row} is {self.accuracy[row]}: it must be a fraction from 0 to 1"
            )

    def __len__(self) -> int:
        return len(self.genomes)

    def take(self, rows: NDArray[np.intp]) -> Pairs:
        """Some of the pairs, in the order given."""
        return Pairs(self.genomes[rows], self.accuracy[rows])

    def checked(self, space: SearchSpace, least: int = 2) -> Pairs:
        """The same pairs with repeated genomes averaged, in order of first appearance.

        Raises:
            InvalidGenomeError: a genome is not of ``space``.
            InvalidPairsError: fewer than ``least`` different genomes.
        """
        genomes = space.check(self.genomes)
        _, first, which = np.unique(genomes, axis=0, return_index=True, return_inverse=True)
        sums = np.bincount(which.reshape(-1), weights=self.accuracy)
        means = sums / np.bincount(which.reshape(-1))
        if len(first) < least:
            raise InvalidPairsError(
                f"{len(first)} different genomes are too few to fit a predictor: measure at least {least}"
            )
        order = np.argsort(first)
        return Pairs(genomes[first[order]], np.clip(means[order], 0.0, 1.0))

    def split(self, held_out: float, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
        """(to learn from, held out) at random; equal genomes stay on one side.

        Args:
            held_out: share of the different genomes to hold out, between 0 and 1; at least one stays each side.
            rng: source of the choice.

        Raises:
            InvalidPairsError: fewer than two different genomes.
        """
        _, which = np.unique(self.genomes, axis=0, return_inverse=True)
        kinds = int(which.max(initial=-1)) + 1
        if kinds < 2:
            raise InvalidPairsError(f"{kinds} different genomes can not be split: measure at least 2")
        n = min(max(round(held_out * kinds), 1), kinds - 1)
        out = np.isin(which.reshape(-1), rng.permutation(kinds)[:n])
        return self.take(np.flatnonzero(~out)), self.take(np.flatnonzero(out))

    def hash(self) -> str:
        """SHA-256 of genomes and accuracies in their order."""
        digest = hashlib.sha256(repr(self.genomes.shape).encode())
        digest.update(np.ascontiguousarray(self.genomes).tobytes())
        digest.update(np.ascontiguousarray(self.accuracy).tobytes())
        return digest.hexdigest()
