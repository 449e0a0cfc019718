"""End an experiment that somebody does not want any more."""

from __future__ import annotations

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status

_TRIES = 5


def cancel(store: Store, experiment_id: str) -> Experiment:
    """Make it CANCELLED where nobody works on it, else CANCELLING, which its process hears within seconds.

    Asking again changes nothing.

    Raises:
        StatusError: it is COMPLETED or FAILED, so that there is nothing to cancel.
        UnknownNameError: there is no such experiment.
    """
    for attempt in range(_TRIES):
        one = store.get(experiment_id)
        if one.status in (Status.CANCELLING, Status.CANCELLED):
            return one
        wanted = Status.CANCELLING if one.status is Status.RUNNING else Status.CANCELLED
        try:
            return store.set_status(experiment_id, wanted, "cancelled by request")
        except StatusError:  # it moved on in between: look again
            if one.status in (Status.COMPLETED, Status.FAILED) or attempt == _TRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")
