"""How a worker works."""

from __future__ import annotations

from dataclasses import dataclass

from bitfront.supernet.errors import BitfrontError


class WorkerSettingsError(BitfrontError):
    """A setting of a worker is out of its range."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker works.

    Args:
        slots: experiments at once, 1 or more.
        poll_seconds: how often the queue is looked at, more than 0.
        grace_seconds: how long a child that must end is left to do so before it is killed, 0 or more.
        once: end when nothing is queued and nothing runs.
        parent: the process that the worker ends with, leaving its children to the next one; None: with nobody.

    Raises:
        WorkerSettingsError: a number is out of its range.
    """

    slots: int = 1
    poll_seconds: float = 1.0
    grace_seconds: float = 20.0
    once: bool = False
    parent: int | None = None

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise WorkerSettingsError(f"slots is {self.slots}, but a worker has 1 slot or more: give --slots 1")
        if not 0 < self.poll_seconds < float("inf"):
            raise WorkerSettingsError(
                f"poll is {self.poll_seconds} seconds, but must be more than 0: give --poll 1"
            )
        if not 0 <= self.grace_seconds < float("inf"):
            raise WorkerSettingsError(
                f"grace is {self.grace_seconds} seconds, but must be 0 or more: give --grace 20"
            )
