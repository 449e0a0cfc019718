"""Go on with an experiment that is over, but not done."""

from __future__ import annotations

from pathlib import Path

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.tries import forget_tries


def resume(store: Store, home: Path, experiment_id: str) -> Experiment:
    """Queue it again, with all its tries before it: somebody thinks that it will do now. A QUEUED one stays so.

    Raises:
        StatusError: it runs, is COMPLETED, or candidates of it were forgotten.
        StorageError: what is kept of its tries can not be deleted.
    """
    one = store.get(experiment_id)
    if one.status is Status.QUEUED:
        return one
    if one.status.is_over:  # or who works on it still counts
        forget_tries(home, experiment_id)
    return store.set_status(experiment_id, Status.QUEUED)
