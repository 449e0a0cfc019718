"""Optuna's studies: where they are kept, and how they go on as if they had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfront.supernet.errors import StorageError

if TYPE_CHECKING:  # Optuna takes long to import, and is needed only where something is tuned
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_FIRST_TO_PRUNE = 5
_LOCKED_SECONDS = 60


@contextmanager
def opened(storage: Path | str | None, name: str, about: Mapping[str, Any]) -> Iterator[Study]:
    """The study of this name, new or as it was left; what is open is closed in the end.

    A trial is pruned where, from the second fold on, its best value so far is below the median of the others at
    that fold.

    Args:
        storage: a file for SQLite, or the URL of a database, as SQLAlchemy takes it; None: nothing is kept.
        name: of the study.
        about: JSON-able values that are kept with it, for people.

    Raises:
        StorageError: it can not be kept there, now or later.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _kept(storage) as kept:
            study = optuna.create_study(
                storage=kept,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TO_PRUNE, n_warmup_steps=1),
            )
            for key, value in about.items():
                study.set_user_attr(key, value)
            yield study
    except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
        raise _unkept(storage, error) from error
    finally:
        optuna.logging.set_verbosity(verbosity)


def prepare(study: Study, seed: int, number: int, defaults: Mapping[str, Any]) -> None:
    """Make ready to ask for what comes after ``number`` finished trials; the first one has the ``defaults``.

    Each trial has a sampler of its own, which depends on ``seed`` and ``number``: no state needs to be kept, since
    all else that it knows are the finished trials.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    own = int(np.random.SeedSequence([seed, 3, number]).generate_state(1)[0])
    # A constant liar would also look at trials that a killed process has left running.
    study.sampler = TPESampler(seed=own, constant_liar=False)
    if number == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(defaults))


def finished(study: Study) -> list[FrozenTrial]:
    """Trials that came to an end, in order; what a killed process left is not among them."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


@contextmanager
def _kept(storage: Path | str | None) -> Iterator[RDBStorage | None]:
    if storage is None:
        yield None
        return
    kept = _database(storage)
    try:
        yield kept
    finally:
        kept.remove_session()
        kept.engine.dispose()


def _database(storage: Path | str) -> RDBStorage:
    from optuna.storages import RDBStorage

    url = f"sqlite:///{storage}" if isinstance(storage, Path) else storage
    patient = {"connect_args": {"timeout": _LOCKED_SECONDS}} if url.startswith("sqlite") else None
    try:
        if isinstance(storage, Path):
            storage.parent.mkdir(parents=True, exist_ok=True)
        return RDBStorage(url, patient)
    except (OSError, RuntimeError) as error:
        raise _unkept(storage, error) from error


def _unkept(storage: Path | str | None, error: Exception) -> StorageError:
    # A URL may hold a password.
    place = storage if isinstance(storage, Path) else "the given database"
    # Optuna says that something went wrong, its cause says what.
    why = str(error.__cause__ or error).partition("\n")[0]
    return StorageError(
        f"studies can not be kept in {place} ({why}): name a place that can be written; "
        "a file that is damaged may be deleted, its trials are then made again"
    )
