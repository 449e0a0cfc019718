"""How well a kind of predictor learns with given options, judged by folds of the pairs that it is to learn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.metrics import pairwise_accuracy
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.supernet.space import SearchSpace

FOLDS = 5
_LEAST_PER_FOLD = 2


@dataclass(frozen=True)
class LearningPairs:
    """What a predictor learns: fp32 pairs by architecture alone, or others by architecture and policy, or both.

    With both, it is fitted to the fp32 pairs and transferred to the others.

    Raises:
        InvalidPairsError: neither is given.
    """

    fp32: Pairs | None = None
    others: Pairs | None = None

    def __post_init__(self) -> None:
        if self.fp32 is None and self.others is None:
            raise InvalidPairsError("no pairs to learn from: give fp32 pairs, others, or both")

    @property
    def last(self) -> Pairs:
        """What is learned last: the folds are folds of these."""
        last = self.fp32 if self.others is None else self.others
        assert last is not None
        return last

    def checked(self, space: SearchSpace) -> LearningPairs:
        """The same with repeated genomes averaged, so that no candidate is on both sides of a fold.

        Raises:
            InvalidGenomeError: a genome is not of ``space``.
            InvalidPairsError: too few pairs for folds that can be judged.
        """
        parts = (None if part is None else part.checked(space) for part in (self.fp32, self.others))
        checked = LearningPairs(*parts)
        if len(checked.last) < _LEAST_PER_FOLD * FOLDS:
            raise InvalidPairsError(
                f"{len(checked.last)} different genomes are too few for {FOLDS} folds: "
                f"measure at least {_LEAST_PER_FOLD * FOLDS}, or do not tune"
            )
        return checked

    def hash(self) -> str:
        """SHA-256 of all pairs, and of which are which."""
        parts = ["none" if part is None else part.hash() for part in (self.fp32, self.others)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def fold_scores(
    kind: type[AccuracyPredictor],
    space: SearchSpace,
    pairs: LearningPairs,
    options: Mapping[str, OptionValue],
    seed: int,
) -> Iterator[float]:
    """Pairwise accuracy, 0..1, on each of `FOLDS` folds in turn, of a predictor that learned the other folds.

    Folds and fits depend on ``seed`` alone, so that options are compared on the same ones. fp32 pairs are learned
    once, and all of them, where there are others to be transferred to.

    Raises:
        InvalidPairsError: what is left beside a fold is too little for the kind.
        InvalidGenomeError, UnknownNameError, InvalidOptionError, NumericalError: as `AccuracyPredictor.fit`.
    """
    last, learn = pairs.last, _learner(kind, space, pairs, options, seed)
    fold = np.random.default_rng([seed, 0]).permutation(len(last)) % FOLDS
    for one in range(FOLDS):
        held_out = last.take(np.flatnonzero(fold == one))
        rest = last.take(np.flatnonzero(fold != one))
        predictor = learn(rest, np.random.default_rng([seed, 1, one]))
        yield pairwise_accuracy(predictor.mean(held_out.genomes), held_out.accuracy)


def _learner(
    kind: type[AccuracyPredictor],
    space: SearchSpace,
    pairs: LearningPairs,
    options: Mapping[str, OptionValue],
    seed: int,
) -> Callable[[Pairs, np.random.Generator], AccuracyPredictor]:
    """What makes a predictor of some of the pairs that are learned last."""
    if pairs.others is None:
        return lambda some, rng: kind.fit(space, some, rng, options)
    if pairs.fp32 is None:
        return lambda some, rng: kind.from_scratch(space, some, rng, options)
    return kind.fit(space, pairs.fp32, np.random.default_rng([seed, 2]), options).transfer
