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


@dataclass(frozen=True, slots=True)
class Repeats:
    """What became of genomes that came more than once: their accuracies were averaged.

    Attributes:
        merged: rows that went into the row of an equal genome.
        differing: genomes whose accuracies were not all the same.
        largest: the largest difference between two accuracies of one genome, a fraction.
    """

    merged: int
    differing: int
    largest: float

    def __str__(self) -> str:
        """Words for people; empty where no genome came twice."""
        if not self.merged:
            return ""
        rows = "1 row repeats a genome" if self.merged == 1 else f"{self.merged} rows repeat genomes"
        if not self.differing:
            return f"{rows} with the same value: each genome counts once"
        genomes = "1 genome has" if self.differing == 1 else f"{self.differing} genomes have"
        return f"{rows}, and {genomes} different values (by up to {self.largest:.4f}): averaged"


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
        merged, _ = Pairs(space.check(self.genomes), self.accuracy).averaged()
        if len(merged) < least:
            raise InvalidPairsError(
                f"too few different genomes to fit a predictor, {len(merged)}: measure at least {least}"
            )
        return merged

    def new_to(self, learned: Pairs, least: int) -> Pairs:
        """Those whose genomes are not among what was ``learned`` before.

        Raises:
            InvalidPairsError: fewer than ``least`` of them.
        """
        known = {genome.tobytes() for genome in learned.genomes}
        new = np.array([genome.tobytes() not in known for genome in self.genomes], dtype=bool)
        if new.sum() < least:
            raise InvalidPairsError(
                f"{len(self) - int(new.sum())} of {len(self)} genomes were learned before, so that only "
                f"{int(new.sum())} can say what is new: give at least {least} others, or fit all from scratch"
            )
        return self.take(np.flatnonzero(new))

    def averaged(self) -> tuple[Pairs, Repeats]:
        """The same pairs with repeated genomes averaged, in order of first appearance, and what that did."""
        _, first, which, counts = np.unique(
            self.genomes, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        which = which.reshape(-1)
        means = np.bincount(which, weights=self.accuracy, minlength=len(first)) / counts
        low, high = np.full(len(first), np.inf), np.full(len(first), -np.inf)
        np.minimum.at(low, which, self.accuracy)
        np.maximum.at(high, which, self.accuracy)
        # A mean of equal values may be off by the last bit.
        means = np.clip(means, low, high)
        order = np.argsort(first)
        spread = high - low
        repeats = Repeats(len(self) - len(first), int((spread > 0).sum()), float(spread.max(initial=0.0)))
        return Pairs(self.genomes[first[order]], means[order]), repeats

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
            raise InvalidPairsError(f"too few different genomes to be split, {kinds}: measure at least 2")
        n = min(max(round(held_out * kinds), 1), kinds - 1)
        out = np.isin(which.reshape(-1), rng.permutation(kinds)[:n])
        return self.take(np.flatnonzero(~out)), self.take(np.flatnonzero(out))

    def hash(self) -> str:
        """SHA-256 of genomes and accuracies in their order."""
        digest = hashlib.sha256(repr(self.genomes.shape).encode())
        digest.update(np.ascontiguousarray(self.genomes).tobytes())
        digest.update(np.ascontiguousarray(self.accuracy).tobytes())
        return digest.hexdigest()
