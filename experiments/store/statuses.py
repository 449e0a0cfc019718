"""The life of an experiment: its statuses and the ways between them."""

from __future__ import annotations

from enum import StrEnum

from bitfront.experiments.store.errors import StatusError


class Status(StrEnum):
    """Where an experiment stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def is_held(self) -> bool:
        """Whether a process works on it."""
        return self in (Status.RUNNING, Status.CANCELLING)

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more unless somebody asks for it."""
        return not self.is_held and self is not Status.QUEUED


_NEXT = {
    Status.QUEUED: (Status.RUNNING, Status.CANCELLED),
    Status.RUNNING: (Status.CANCELLING, Status.COMPLETED, Status.FAILED, Status.INTERRUPTED),
    Status.CANCELLING: (Status.CANCELLED, Status.COMPLETED, Status.FAILED, Status.INTERRUPTED),
    Status.CANCELLED: (Status.QUEUED,),
    Status.COMPLETED: (),
    Status.FAILED: (Status.QUEUED,),
    Status.INTERRUPTED: (Status.QUEUED, Status.CANCELLED, Status.FAILED),
}


def next_statuses(status: Status) -> tuple[Status, ...]:
    """The statuses that may follow ``status``."""
    return _NEXT[status]


def check_transition(experiment_id: str, old: Status, new: Status) -> None:
    """Refuse an illegal change of status.

    Raises:
        StatusError: ``new`` may not follow ``old``; the message lists what may.
    """
    if new not in _NEXT[old]:
        may = ", ".join(_NEXT[old]) or "nothing, it is final"
        raise StatusError(f"experiment {experiment_id!r} is {old} and can not become {new}: next may be {may}")
