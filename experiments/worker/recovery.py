"""What becomes of experiments whose process is gone, or does not hear that it shall end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bitfront.experiments.concluding import BY_SIGNAL, DRAINED
from bitfront.experiments.places import log_path
from bitfront.experiments.reporter import LogReporter
from bitfront.experiments.store.base import MOST_PER_PAGE, Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.processes import Child
from bitfront.experiments.worker.tries import MOST, forget_tries, tries_without_progress
from bitfront.supernet.errors import StorageError, UnknownNameError

_LOG = logging.getLogger(__name__)


class Recovery:
    """Queues again what crashed or what a worker was stopped in, but not what a person stopped.

    After each try without progress the next comes later, and after `MOST` the experiment is FAILED.

    Args:
        store: where the experiments are.
        home: where their files are.
        pause_seconds: the second try comes at once, the third one four times this after the second crash.
        clock: seconds that only go forward.
    """

    def __init__(
        self, store: Store, home: Path, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._home, self._pause, self._clock = store, home, pause_seconds, clock
        self._seen: dict[str, float] = {}

    def recover(self) -> bool:
        """Look at all INTERRUPTED experiments; whether some wait for their next try."""
        for experiment_id in self._store.mark_interrupted():
            self._tell(experiment_id, f"its process is gone: {self._store.get(experiment_id).reason}")
        found = [one for one in experiments(self._store, Status.INTERRUPTED) if one.reason != BY_SIGNAL]
        self._seen = {one.id: self._seen.get(one.id, self._clock()) for one in found}
        waiting = [self._waits(one) for one in found]
        return any(waiting)

    def _waits(self, one: Experiment) -> bool:
        """Queue it or give it up, unless it must wait."""
        tries = 0 if one.reason == DRAINED else tries_without_progress(self._store, self._home, one)
        if tries >= MOST:
            self._give_up(one)
        elif self._clock() - self._seen[one.id] < self._pause * (4 ** (tries - 1) if tries > 1 else 0):
            return True
        elif self._moved(one, Status.QUEUED, ""):
            self._tell(one.id, f"queued again after {one.reason}")
        return False

    def _give_up(self, one: Experiment) -> None:
        reason = (
            f"crashed {MOST} times in stage {one.stage!r} without getting any further (the last time: "
            f"{one.reason}): see its log and the machine's memory, then 'bitfront resume {one.id}'"
        )
        if self._moved(one, Status.FAILED, reason):
            forget_tries(self._home, one.id)
            self._tell(one.id, f"failed {reason}")

    def _moved(self, one: Experiment, status: Status, reason: str) -> bool:
        try:
            self._store.set_status(one.id, status, reason, expected=Status.INTERRUPTED)
        except (StatusError, UnknownNameError):
            return False  # another worker was first, or somebody cancelled or deleted it
        return True

    def _tell(self, experiment_id: str, text: str) -> None:
        _LOG.warning("%s: %s", experiment_id, text, extra={"experiment": experiment_id})
        with suppress(StorageError):  # the disk may be full, which is told by what needs it
            LogReporter(log_path(self._home, experiment_id)).say(f"worker: {text}")


class Cancelling:
    """Ends children that do not hear that their experiment is CANCELLING, as they are stuck.

    Args:
        grace_seconds: how long they are left alone, and again how long between SIGTERM and SIGKILL.
        clock: seconds that only go forward.
    """

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace, self._clock = grace_seconds, clock
        self._since: dict[str, float] = {}
        self._asked: set[str] = set()

    def enforce(self, cancelling: Iterable[Experiment], children: Iterable[Child]) -> None:
        """Look at all CANCELLING experiments; those that other processes work on are left alone."""
        by_owner = {child.owner: child for child in children}
        stuck = {one.id: by_owner[one.owner] for one in cancelling if one.owner in by_owner}
        self._since = {key: self._since.get(key, self._clock()) for key in stuck}
        self._asked &= stuck.keys()
        for experiment_id, child in stuck.items():
            waited = self._clock() - self._since[experiment_id]
            if waited >= 2 * self._grace:
                _LOG.warning("%s does not end: killed", experiment_id, extra={"experiment": experiment_id})
                child.kill()
            elif waited >= self._grace and experiment_id not in self._asked:
                self._asked.add(experiment_id)  # once: a second SIGTERM would cut off what it does about the first
                child.stop()


def experiments(store: Store, status: Status) -> Iterator[Experiment]:
    """Every experiment of a status, newest first."""
    cursor: str | None = None
    while True:
        page = store.list_experiments(cursor, MOST_PER_PAGE, status)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
