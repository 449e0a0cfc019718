"""From pairs of any kind to a predictor that is judged on pairs which it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.cross_validation import LearningPairs
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.metrics import judged
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor, How, Prediction
from bitfront.predictors.tuning import Tuned, Tuning, tune
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

LEAST_TO_TRANSFER = 10
LEAST_TO_RELY_ON = 20
"""Metrics of fewer pairs are mostly chance."""
_LEAST_TO_JUDGE = 2


@dataclass(frozen=True)
class Judgement:
    """A predictor's word on pairs that it has not learned from, and what `judged` says of it."""

    held_out: Pairs
    prediction: Prediction
    metrics: dict[str, float]

    def notes(self) -> list[str]:
        """What whoever reads the metrics should know, in words."""
        n = len(self.held_out)
        if n >= LEAST_TO_RELY_ON:
            return []
        return [f"warning: only {n} pairs judge it, so chance decides much: judge by {LEAST_TO_RELY_ON} or more"]


@dataclass(frozen=True)
class Fitted:
    """A predictor, how it came about, and how good it is.

    Attributes:
        predictor: fitted on the learning pairs alone, so that ``judgement`` is true of it.
        how: it came about.
        fp32_pairs: how many fp32 pairs it learned from.
        other_pairs: how many others.
        judgement: on held-out pairs. Where there were enough to transfer, on quantized ones alone, transferred or
            not: fp32 ones are told from quantized ones too easily.
        before: the fp32 predictor on its own held-out pairs, where it was transferred.
        tuned: what tuning found, where its options were tuned.
    """

    predictor: AccuracyPredictor
    how: How
    fp32_pairs: int
    other_pairs: int
    judgement: Judgement
    before: Judgement | None = None
    tuned: Tuned | None = None


def is_fp32(space: SearchSpace, genomes: Genomes) -> NDArray[np.bool_]:
    """Which of canonical genomes (n, n_genes) have fp32 as every active format, shape (n,)."""
    other = [
        np.array([gene.is_policy and choice != "fp32" for choice in gene.choices])[genomes[:, i]]
        for i, gene in enumerate(space.genes)
    ]
    quantized: NDArray[np.bool_] = np.any(np.stack(other, axis=1) & space.active(genomes), axis=1)
    return ~quantized


def judge(predictor: AccuracyPredictor, held_out: Pairs) -> Judgement:
    """Ask for held-out pairs and compare.

    Raises:
        InvalidPairsError: fewer than two pairs.
    """
    if len(held_out) < _LEAST_TO_JUDGE:
        raise InvalidPairsError(
            f"{len(held_out)} held-out pairs are too few to judge a predictor by: give at least {_LEAST_TO_JUDGE}"
        )
    prediction = predictor.predict(held_out.genomes)
    return Judgement(held_out, prediction, judged(prediction, held_out.accuracy))


def fit_and_judge(
    kind: type[AccuracyPredictor],
    space: SearchSpace,
    pairs: Pairs,
    rng: np.random.Generator,
    *,
    options: Mapping[str, OptionValue] | None = None,
    held_out: float = 0.2,
    from_scratch: bool = False,
    tuning: Tuning | None = None,
) -> Fitted:
    """Hold pairs out at random, fit to the rest in the way that suits them, and judge on what was held out.

    Where at least `LEAST_TO_TRANSFER` fp32 pairs and as many others are there to learn from, the predictor is
    fitted to the fp32 pairs and transferred to the others (APQ, Wang et al. 2020, section 3.3). Where all pairs,
    the held-out ones included, are fp32, architecture alone is learned. Else, or where ``from_scratch`` says so,
    all is learned at once.

    Args:
        kind: of predictor, as in `PREDICTORS`.
        space: whose candidates the pairs are.
        pairs: repeated genomes are averaged.
        rng: source of the choice and of the fit.
        options: the kind's own.
        held_out: share of the different fp32 genomes, and of the others, to judge by; between 0 and 1.
        from_scratch: never transfer.
        tuning: of options that are not given, on the pairs to learn from alone; None: these have their defaults.

    Raises:
        InvalidPairsError: too few pairs to learn from or to judge by, or ``held_out`` is no such share.
        InvalidGenomeError, UnknownNameError, InvalidOptionError, NumericalError: as `AccuracyPredictor.fit`.
        StorageError: trials can not be kept where ``tuning`` says.
    """
    if not 0 < held_out < 1:
        raise InvalidPairsError(f"held_out is {held_out}: it must be a share between 0 and 1, such as 0.2")
    pairs = pairs.checked(space)
    how = _how(space, pairs, held_out, from_scratch)
    learned, judged_by = _split(space, pairs, held_out, rng)
    try:
        to_learn = _to_learn(space, learned, how)
        tuned = tune(kind, space, to_learn, tuning, rng, options) if tuning else None
        fitted = _fitted(kind, space, to_learn, judged_by, rng, tuned.options if tuned else options)
        return replace(fitted, tuned=tuned)
    except InvalidPairsError as error:
        error.add_note(f"of {len(learned) + len(judged_by)} different genomes {len(judged_by)} are held out")
        raise


def _how(space: SearchSpace, pairs: Pairs, held_out: float, from_scratch: bool) -> How:
    """The way that suits pairs of which a share is still to be held out."""
    fp32, quantized = (len(part) for part in _parts(space, pairs))
    if not quantized:
        return "fp32"
    left = (n - _held_out_of(n, held_out) for n in (fp32, quantized))
    return "transferred" if not from_scratch and _enough(*left) else "from scratch"


def _to_learn(space: SearchSpace, learned: Pairs, how: How) -> LearningPairs:
    if how == "fp32":
        return LearningPairs(fp32=learned)
    if how == "from scratch":
        return LearningPairs(others=learned)
    return LearningPairs(*_parts(space, learned))


def _enough(fp32: int, quantized: int) -> bool:
    """Whether there are as many of both as it takes to transfer."""
    return min(fp32, quantized) >= LEAST_TO_TRANSFER


def _fitted(
    kind: type[AccuracyPredictor],
    space: SearchSpace,
    pairs: LearningPairs,
    judged_by: Pairs,
    rng: np.random.Generator,
    options: Mapping[str, OptionValue] | None,
) -> Fitted:
    fp32_out, quantized_out = _parts(space, judged_by)
    if pairs.fp32 is None:
        joint = kind.from_scratch(space, pairs.last, rng, options)
        fp32, quantized = _parts(space, pairs.last)
        judgement = judge(joint, quantized_out if _enough(len(fp32), len(quantized)) else judged_by)
        return Fitted(joint, "from scratch", len(fp32), len(quantized), judgement)
    first = kind.fit(space, pairs.fp32, rng, options)
    before = judge(first, fp32_out)
    if pairs.others is None:
        return Fitted(first, "fp32", len(pairs.fp32), 0, before)
    second = first.transfer(pairs.others, rng)
    judgement = judge(second, quantized_out)
    return Fitted(second, "transferred", len(pairs.fp32), len(pairs.others), judgement, before)


def _split(space: SearchSpace, pairs: Pairs, held_out: float, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """(to learn from, held out): the same share of fp32 pairs and of others, as far as these can be split."""
    real, out = is_fp32(space, pairs.genomes), np.zeros(len(pairs), dtype=bool)
    for group in (np.flatnonzero(real), np.flatnonzero(~real)):
        out[rng.permutation(group)[: _held_out_of(len(group), held_out)]] = True
    return pairs.take(np.flatnonzero(~out)), pairs.take(np.flatnonzero(out))


def _held_out_of(n: int, share: float) -> int:
    """How many of n pairs are held out: two at least, unless that is more than half."""
    return max(round(share * n), min(2, n // 2))


def _parts(space: SearchSpace, pairs: Pairs) -> tuple[Pairs, Pairs]:
    """(fp32 pairs, others), in their order."""
    real = is_fp32(space, pairs.genomes)
    return pairs.take(np.flatnonzero(real)), pairs.take(np.flatnonzero(~real))
