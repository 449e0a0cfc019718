"""The process that works on one experiment: it claims the next one itself, so that its owner is who works."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

from bitfront.experiments.concluding import DRAINED, concluded
from bitfront.experiments.places import log_path
from bitfront.experiments.reporter import LogReporter
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import LostError
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.swapping import opening
from bitfront.experiments.termination import terminated_as_interrupted
from bitfront.experiments.worker.tries import begin_try, forget_tries
from bitfront.supernet.errors import BitfrontError, StorageError

Work = Callable[[Store, Path, Experiment], None]
"""Does what a claimed experiment asks for."""


def work_on_next(home: Path, work: Work | None = None) -> bool:
    """Claim the next QUEUED experiment and work on it to its end, whatever that is; False where there is none.

    Its log becomes this process's stdout and stderr. SIGTERM makes it INTERRUPTED, to go on with the next worker.

    Raises:
        StorageError: the store does not answer, or the end could not be stored; the experiment is resumed then.
        StatusError: another process took it over.
    """
    with terminated_as_interrupted(), opening(home), open_store(home) as store:
        experiment = store.claim_next()
        if experiment is None:
            return False
        try:
            _work(store, home, experiment, work or _pipeline)
        except BaseException as error:
            if not _is_over(store, experiment.id):
                raise
            if not isinstance(error, BitfrontError | KeyboardInterrupt | SystemExit):
                traceback.print_exc()
            if isinstance(error, LostError):
                return True  # counts as a crash, or a store that never answers would be asked forever
        forget_tries(home, experiment.id)
    return True


def _is_over(store: Store, experiment_id: str) -> bool:
    try:
        return store.get(experiment_id).status.is_over
    except StorageError:
        return False


def _work(store: Store, home: Path, experiment: Experiment, work: Work) -> None:
    path = log_path(home, experiment.id)
    with concluded(store, experiment.id, LogReporter(path), DRAINED):
        _write_to(path)
        begin_try(store, home, experiment)
        work(store, home, experiment)


def _pipeline(store: Store, home: Path, experiment: Experiment) -> None:
    from bitfront.experiments.pipeline import (
        run_claimed,
    )  # takes seconds, when somebody may want to cancel already
    from bitfront.experiments.reporter import Reporters

    run_claimed(store, home, experiment, Reporters())


def _write_to(path: Path) -> None:
    """Make a file this process's stdout and stderr, and so that of all that it starts."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise StorageError(f"can not write the log {path}: {error.strerror}. Free space, then resume") from error
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
