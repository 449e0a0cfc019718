"""Workers and children that are forked, and whose experiments are a search without networks.

It is quick, random by its seed alone, and goes on from its newest generation. As forking is for processes without
threads, tests run a `trouble` in a process of its own: ``python stand_in.py NAME HOME``.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import CandidateBatch, Experiment, Generation
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.child import work_on_next
from bitfront.experiments.worker.processes import Child
from bitfront.experiments.worker.settings import WorkerSettings
from bitfront.experiments.worker.worker import work_through_queue

POPULATION = 5


class Forked:
    """A forked process, as `processes.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        code = self._look(0)
        assert code is not None
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _look(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def fork(act: Callable[[], object]) -> Forked:
    """``act`` in a process of its own, which leads a session as a real child does."""
    pid = os.fork()
    if pid:
        return Forked(pid)
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def start(home: Path) -> Child:
    """A child that searches."""
    process = fork(lambda: work_on_next(home, search))
    return Child(Owner.of(process.pid), process)


def worker(home: Path, **settings: Any) -> Forked:
    """A worker that looks often."""
    given = {"poll_seconds": 0.02, "grace_seconds": 1.0, **settings}
    return fork(lambda: work_through_queue(home, WorkerSettings(**given), start))


def search(store: Store, home: Path, experiment: Experiment) -> None:
    """As the spec says: ``generations`` of ``seconds`` each; ``crash`` at one, ``deaf`` to what it is told."""
    spec = experiment.spec
    store.set_stage(experiment.id, "5 search")
    last = store.last_generation(experiment.id)
    begun = 0 if last is None else last[0].index + 1
    if last is not None:  # the state is that of the generation that is stored
        assert last[1]["after"] == last[0].index
    for index in range(begun, spec.get("generations", 1)):
        if index == spec.get("crash"):
            os._exit(9)
        _generation(store, experiment, index)
        _rest(store, experiment, spec.get("seconds", 0.0))


def _generation(store: Store, experiment: Experiment, index: int) -> None:
    rng = np.random.default_rng([experiment.seed, index])
    low = np.array([index // 200, index % 200, 0], dtype=np.uint8)
    genomes = np.tile(low, (POPULATION, 1))
    genomes[:, 2] = np.arange(POPULATION)
    batch = CandidateBatch(genomes, {"top1": rng.random(POPULATION), "latency_ms": rng.random(POPULATION)})
    generation = Generation(index, POPULATION * (index + 1), float(index))
    store.add_generation(experiment.id, generation, batch, genomes[:2], {"after": index})


def _rest(store: Store, experiment: Experiment, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
        if experiment.spec.get("deaf"):
            _be_deaf(seconds)
        if store.heartbeat(experiment.id) is Status.CANCELLING:
            raise CancelledError("cancelled")


def _be_deaf(seconds: float) -> None:
    """As if it were in C code that does not come back: not even a signal's handler runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    time.sleep(seconds)


def front(store: Store, experiment_id: str) -> list[Any]:
    """All that a search leaves, without times."""
    history = [(one.index, one.evaluations, one.hypervolume) for one in store.generations(experiment_id)]
    found = store.candidates(experiment_id, limit=10_000).items
    return [history, [(one.id, one.generation, one.genome, one.predicted, one.on_front) for one in found]]
