"""Options of predictors, tuned by Optuna: tree-structured Parzen estimators (Bergstra et al. 2011) and pruning.

Options are judged by cross-validation on the pairs that are to be learned, never on pairs that a predictor is
judged by later. A study can be kept in a database: where it ended too early, it goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfront.predictors.cross_validation import FOLDS, LearningPairs, fold_scores
from bitfront.predictors.options import InvalidOptionError, OptionValue
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.studies import finished, opened, prepare
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:  # Optuna takes long to import, and is needed only where something is tuned
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

MOST_TRIALS = 10_000
_FORMAT = "bitfront-tuning-1"
_OPTIONS = "options"


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much is tuned, and where it is kept.

    Attributes:
        trials: options that are tried, the defaults among them.
        storage: a file for SQLite, or the URL of a database, as SQLAlchemy takes it; None: nothing is kept.
        progress: told (trials that are finished, trials) after each.

    Raises:
        InvalidOptionError: ``trials`` is out of range.
    """

    trials: int
    storage: Path | str | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MOST_TRIALS:
            raise InvalidOptionError(f"trials is {self.trials}: it must be from 1 to {MOST_TRIALS}")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best options that were found.

    Attributes:
        options: those that were given, and the best values of the others that are tuned.
        value: their pairwise accuracy by cross-validation, mean of the folds; the best of many, so it flatters.
        of_defaults: that of the given options and defaults for the others; None where their fit diverged.
        trials: finished ones.
        pruned: those of them that were given up before the last fold.
        known: those of them that were there before.
    """

    options: dict[str, OptionValue]
    value: float
    of_defaults: float | None
    trials: int
    pruned: int
    known: int

    def __str__(self) -> str:
        """Words for people."""
        before = "" if self.of_defaults is None else f", that of the defaults {self.of_defaults:.3f}"
        known = f", {self.known} of them known from before" if self.known else ""
        best = ", ".join(f"{name} {_short(value)}" for name, value in self.options.items())
        return (
            f"{self.trials} trials ({self.pruned} pruned{known}): pairwise accuracy by cross-validation "
            f"{self.value:.3f}{before}; {best}"
        )


def tune(
    kind: type[AccuracyPredictor],
    space: SearchSpace,
    pairs: LearningPairs,
    tuning: Tuning,
    rng: np.random.Generator,
    given: Mapping[str, OptionValue] | None = None,
) -> Tuned:
    """Try options and return the best. The same generator, pairs and number of trials find the same, also when the
    process was killed in between.

    A study belongs to one kind, space, set of pairs, seed and ``given``: with another of these another one begins.
    Two processes that work on the same study at once may try the same options twice.

    Args:
        kind: of predictor.
        space: whose candidates the pairs are.
        pairs: to learn from; nothing else is looked at.
        tuning: how many trials, and where they are kept.
        rng: one number is drawn.
        given: options that are not tuned, but have these values.

    Raises:
        InvalidPairsError: too few pairs for folds.
        InvalidGenomeError, UnknownNameError, InvalidOptionError: as `AccuracyPredictor.fit`.
        NumericalError: no fit went well.
        StorageError: the study can not be kept where it should be.
    """
    given, seed = dict(given or {}), int(rng.integers(2**63))
    kind.read_options(given)
    task = _Task(kind, space, pairs.checked(space), given, seed)
    with opened(tuning.storage, task.name(), task.described()) as study:
        known = len(finished(study))
        while (done := len(finished(study))) < tuning.trials:
            _one_more(study, task, done)
            tuning.progress(done + 1, tuning.trials)
        # More may be known than were asked for now.
        return _best(finished(study)[: tuning.trials], min(known, tuning.trials))


@dataclass(frozen=True, slots=True)
class _Task:
    """What a study is about."""

    kind: type[AccuracyPredictor]
    space: SearchSpace
    pairs: LearningPairs
    given: dict[str, OptionValue]
    seed: int

    def described(self) -> dict[str, Any]:
        """All that its trials depend on."""
        return {
            "format": _FORMAT,
            "kind": self.kind.kind,
            "defaults": asdict(self.kind.read_options(None)),
            "space": self.space.hash(),
            "pairs": self.pairs.hash(),
            "given": self.given,
            "seed": self.seed,
        }

    def name(self) -> str:
        """The study's own, such as ``ridge-0123456789abcdef``."""
        text = json.dumps(self.described(), sort_keys=True)
        return f"{self.kind.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _one_more(study: Study, task: _Task, number: int) -> None:
    """Try what comes after ``number`` finished trials.

    Raises:
        Whatever the fit raises, but NumericalError: options that make it diverge are but bad ones.
    """
    from optuna.trial import TrialState

    prepare(study, task.seed, number, asdict(task.kind.read_options(None)))
    trial = study.ask()
    try:
        value = _judged(trial, task)
    except BaseException as error:
        diverged = isinstance(error, NumericalError)
        study.tell(trial, state=TrialState.PRUNED if diverged else TrialState.FAIL)
        if not diverged:
            raise
    else:
        study.tell(trial, value, None if value is not None else TrialState.PRUNED)


def _judged(trial: Trial, task: _Task) -> float | None:
    """The mean of the folds; None where it is given up, as the first folds are worse than usual."""
    options = {**task.kind.suggest(trial), **task.given}
    trial.set_user_attr(_OPTIONS, options)
    scores = fold_scores(task.kind, task.space, task.pairs, options, task.seed)
    for step, total in enumerate(accumulate(scores)):
        value = total / (step + 1)
        trial.report(value, step)
        if step + 1 < FOLDS and trial.should_prune():
            return None
    return value


def _best(trials: list[FrozenTrial], known: int) -> Tuned:
    from optuna.trial import TrialState

    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete:
        raise NumericalError(
            f"none of {len(trials)} options could be fitted: the pairs may hold wrong accuracies; look at them"
        )
    best = max(complete, key=_value)
    of_defaults = _value(trials[0]) if trials[0].state is TrialState.COMPLETE else None
    return Tuned(
        dict(best.user_attrs[_OPTIONS]),
        _value(best),
        of_defaults,
        len(trials),
        len(trials) - len(complete),
        known,
    )


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _short(value: OptionValue) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
