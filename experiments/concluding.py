"""How an experiment ends, whoever works on it and whatever ends it; light, as nothing heavy may fail before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bitfront.experiments.reporter import LogReporter
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import LostError, StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError, StorageError

BY_SIGNAL = "interrupted by a signal"
"""Why an experiment is INTERRUPTED that a person stopped: it stays so until somebody resumes it."""
DRAINED = "its worker was stopped"
"""Why one is INTERRUPTED that goes on with the next worker."""
LOST = "its database was away for too long"
"""With what went wrong behind it: why one is INTERRUPTED that a worker resumes, as what crashed."""


class CancelledError(BitfrontError):
    """Somebody asked for the experiment to end."""


@contextmanager
def concluded(store: Store, experiment_id: str, log: LogReporter, by_signal: str = BY_SIGNAL) -> Iterator[None]:
    """Work on a claimed experiment inside, and it is COMPLETED, CANCELLED, INTERRUPTED or FAILED with a reason.

    ``by_signal`` is the reason where a signal ended it. What ended it is raised again, but for `CancelledError`.
    """
    try:
        yield
    except CancelledError as error:
        _conclude(store, experiment_id, log, Status.CANCELLED, str(error))
    except (KeyboardInterrupt, SystemExit) as error:  # Ray answers SIGTERM with SystemExit
        _conclude(store, experiment_id, log, Status.INTERRUPTED, by_signal, error)
        raise
    except StatusError:
        raise  # another process has it now: what becomes of it is not ours to say
    except LostError as error:  # says nothing about the experiment, which can go on when the database is back
        _conclude(store, experiment_id, log, Status.INTERRUPTED, f"{LOST}: {error}", error)
        raise
    except BaseException as error:
        _conclude(store, experiment_id, log, Status.FAILED, f"{type(error).__name__}: {error}", error)
        raise
    else:
        _conclude(store, experiment_id, log, Status.COMPLETED, "")


def _conclude(
    store: Store,
    experiment_id: str,
    log: LogReporter,
    status: Status,
    reason: str,
    cause: BaseException | None = None,
) -> None:
    """Store how it ended; a disk too full even for that must not hide what ended it."""
    try:
        now = store.heartbeat(experiment_id)  # refused where another process works on it since
        if status is Status.INTERRUPTED and now is Status.CANCELLING:
            # It did not hear that it was to be cancelled: why the signal came, or as the store was away.
            status, reason = Status.CANCELLED, f"experiment {experiment_id} was cancelled"
        store.set_status(experiment_id, status, reason, owner=Owner.current())
        log.say(f"{status.value.lower()} {reason}".rstrip())
    except (StorageError, StatusError) as error:
        if cause is None:
            raise
        cause.add_note(f"this could not be stored either: {error}")
