"""The worker: it starts a process for each queued experiment, and sees to it that none is lost."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.store.swapping import opening
from bitfront.experiments.worker.pauses import Pause, Signals
from bitfront.experiments.worker.processes import Child, Start, start_child
from bitfront.experiments.worker.recovery import Cancelling, Recovery, experiments
from bitfront.experiments.worker.roster import (
    WorkerRecord,
    dead_workers,
    remove_record,
    touch_record,
    write_record,
)
from bitfront.experiments.worker.settings import WorkerSettings
from bitfront.supernet.errors import StorageError

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 2.0
"""How long one call waits for a database that is away: signals are heard between calls, and it is asked again."""


class Worker:
    """Works through the queue of a home.

    Any number of workers may do so at once: children claim, and each claim succeeds once. A worker that is killed
    leaves its children running; another one of this host, or the next, counts them as its own.

    Args:
        store: the home's store.
        home: where files are.
        settings: how.
        start: starts a child.
        clock: seconds that only go forward, whatever becomes of the time of day.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        settings: WorkerSettings,
        start: Start = start_child,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._home, self._settings, self._start_child, self._clock = (
            store,
            home,
            settings,
            start,
            clock,
        )
        self._me = Owner.current()
        self._children: list[Child] = []
        self._dead: list[WorkerRecord] = []
        self._recovery = Recovery(store, home, settings.poll_seconds, clock)
        self._cancelling = Cancelling(settings.grace_seconds, clock)
        self._failed_starts = Pause(settings.poll_seconds)
        self._may_start = clock()
        self._told: WorkerRecord | None = None
        self._adopt()

    @property
    def children(self) -> tuple[Child, ...]:
        """Those that were alive when they were last looked at."""
        return tuple(self._children)

    def step(self) -> bool:
        """Do all there is to do now; whether there is, or will be, something to wait for.

        Raises:
            StorageError: the store or the disk does not answer; children go on, and the next step does the rest.
        """
        self._reap()
        self._adopt()
        waiting = self._recovery.recover()
        held = [*experiments(self._store, Status.RUNNING), *experiments(self._store, Status.CANCELLING)]
        self._cancelling.enforce((one for one in held if one.status is Status.CANCELLING), self._children)
        queued = self._start(held)
        self._tell()
        return bool(waiting or queued or self._children)

    def drain(self, signals: Signals) -> None:
        """Have the children end, so that their experiments go on with the next worker, and wait for it."""
        until = self._clock() + self._settings.grace_seconds
        for child in self._children:
            child.stop()
        while self._children and self._clock() < until:
            signals.wait(min(self._settings.poll_seconds, 0.2))
            self._reap()
        for child in self._children:
            _LOG.warning("process %d does not end: killed", child.owner.pid)
            child.kill()
            if child.process is not None:
                child.process.wait()
        try:
            self._store.mark_interrupted()
        except StorageError as error:
            _LOG.warning("%s", error)
        remove_record(self._home, self._me)

    def _reap(self) -> None:
        gone = [child for child in self._children if not child.is_alive]
        self._children = [child for child in self._children if child not in gone]
        for child in gone:
            _LOG.info("process %d %s", child.owner.pid, child.ending)
            if child.could_not_work:  # and neither could the next one, at once
                self._hold_back()
            else:
                self._failed_starts.succeeded()

    def _adopt(self) -> None:
        """Count as ours the living children of workers that are gone; `_tell` says so before it buries these."""
        self._dead = dead_workers(self._home)
        known = {child.owner for child in self._children}
        for owner in (child for dead in self._dead for child in dead.children):
            if owner not in known and owner.is_here and owner.is_alive:
                _LOG.info("process %d is taken over from a worker that is gone", owner.pid)
                self._children.append(Child(owner))

    def _start(self, held: Sequence[Experiment]) -> int:
        """Start children for what is queued, as far as there are slots; how many of them were seen."""
        queued = len(self._store.list_experiments(limit=self._settings.slots + 1, status=Status.QUEUED).items)
        owners = {one.owner for one in held}
        unclaimed = sum(child.owner not in owners for child in self._children)
        free = self._settings.slots - len(self._children)
        if self._clock() >= self._may_start:
            for _ in range(min(free, queued - unclaimed)):
                if not self._started():
                    break
        return queued

    def _started(self) -> bool:
        try:
            self._children.append(self._start_child(self._home))
        except OSError as error:  # no memory, or no process more
            self._hold_back()
            words = error.strerror or error
            _LOG.error("can not start a process: %s. Tried again in %.1f s", words, self._failed_starts.seconds)
            return False
        return True

    def _hold_back(self) -> None:
        """Start nothing for a while, and longer each time in a row."""
        self._failed_starts.failed()
        self._may_start = self._clock() + self._failed_starts.seconds

    def _tell(self) -> None:
        record = WorkerRecord(self._me, self._settings.slots, tuple(child.owner for child in self._children))
        if record != self._told:
            write_record(self._home, record)
            self._told = record
        for dead in self._dead:
            remove_record(self._home, dead.owner)
        touch_record(self._home, self._me)


def work_through_queue(home: Path, settings: WorkerSettings, start: Start = start_child) -> None:
    """Be a worker until a signal ends it, or, with ``settings.once``, until nothing is left to do.

    While the store does not answer it waits, longer each time, and so do its children.
    """
    signals, pause = Signals(), Pause(settings.poll_seconds)
    with signals.heard(), _opened(home, signals, pause) as store:
        if store is None:
            return
        worker = Worker(store, home, settings, start)
        _LOG.info("worker %s takes what is queued in %s, %d at once", Owner.current(), home, settings.slots)
        _loop(worker, settings, signals, pause)


def _loop(worker: Worker, settings: WorkerSettings, signals: Signals, pause: Pause) -> None:
    while not signals.stop:
        busy = True
        try:
            busy = worker.step()
            if pause.succeeded():
                _LOG.warning("the store answers again")
        except (StorageError, OSError) as error:  # whatever it is, children are not left alone for it
            _wait_for_store(pause, error)
        if settings.once and not busy:
            break
        if settings.parent is not None and os.getppid() != settings.parent:
            _LOG.warning("process %d, which started this worker, is gone: its children go on", settings.parent)
            return
        signals.wait(pause.seconds or settings.poll_seconds)
    worker.drain(signals)


@contextmanager
def _opened(home: Path, signals: Signals, pause: Pause) -> Iterator[Store | None]:
    """The store, as soon as it can be opened, of a home that nobody replaces; None where a signal came first."""
    with ExitStack() as held:
        store: Store | None = None
        while store is None and not signals.stop:
            try:
                with ExitStack() as begun:
                    begun.enter_context(opening(home))
                    store = begun.enter_context(open_store(home, _PATIENCE_SECONDS))
                    held.push(begun.pop_all())
            except StorageError as error:
                _wait_for_store(pause, error)
                signals.wait(pause.seconds)
        yield store


def _wait_for_store(pause: Pause, error: StorageError | OSError) -> None:
    if pause.failed():
        _LOG.error("%s Tried again until it answers.", error)
