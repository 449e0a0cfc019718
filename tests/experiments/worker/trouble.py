"""What befalls workers, as programs: ``python trouble.py NAME HOME`` prints what it did as JSON."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status

sys.path.insert(0, str(Path(__file__).parent))
stand_in: Any = import_module("stand_in")
child: Any = import_module("bitfront.experiments.worker.child")

KILLS = 20


def kills(home: Path) -> dict[str, Any]:
    """kill -9 of the worker or of its child at random moments, until the experiment is complete or 20 times."""
    rng = random.Random(11)
    done = {"worker": 0, "child": 0}
    (experiment,) = _experiments(home)
    kept = [-1, -1]  # generations at the last kills of a child
    process = stand_in.worker(home, once=True)
    until = time.monotonic() + 120
    while sum(done.values()) < KILLS and time.monotonic() < until:
        time.sleep(rng.uniform(0.02, 0.3))
        if process.poll() is not None:
            process = stand_in.worker(home, once=True)
        elif rng.random() < 0.5:
            process.kill()
            process.wait()
            done["worker"] += 1
            process = stand_in.worker(home, once=True)
        elif _generations(home) > kept[-2]:  # or it would be given up, as it gets no further
            kept.append(_generations(home))
            done["child"] += _kill_child(home, experiment)
    return {**done, "exit": _ended(home, process)}


def _generations(home: Path) -> int:
    with open_store(home) as store:
        return len(store.generations(_experiments(home)[0]))


def _kill_child(home: Path, experiment_id: str) -> bool:
    with open_store(home) as store:
        owner = store.get(experiment_id).owner
    if owner is None or not owner.is_alive:
        return False
    with suppress(ProcessLookupError):
        os.kill(owner.pid, signal.SIGKILL)
        return True
    return False


def _ended(home: Path, process: Any) -> int:
    """Wait until a worker leaves nothing to do; children of killed ones may be left to go on."""
    while True:
        code: int = process.wait()
        with open_store(home) as store:
            if all(one.status.is_over for one in store.list_experiments().items):
                return code
        process = stand_in.worker(home, once=True)


def race(home: Path) -> dict[str, Any]:
    """Two workers, four slots each, on the same queue."""
    workers = [stand_in.worker(home, once=True, slots=4) for _ in range(2)]
    return {"exits": [process.wait() for process in workers]}


def drained(home: Path) -> dict[str, Any]:
    """SIGTERM to a worker in the middle of a search; then the next one."""
    process = stand_in.worker(home)
    _wait(home, lambda store, one: len(store.generations(one)) >= 2)
    os.kill(process.pid, signal.SIGTERM)
    code = process.wait()
    with open_store(home) as store:
        one = store.list_experiments().items[0]
    workers = list((home / "workers").iterdir())
    return {
        "exit": code,
        "status": one.status,
        "reason": one.reason,
        "workers": len(workers),
        "next": stand_in.worker(home, once=True).wait(),
    }


def deaf(home: Path) -> dict[str, Any]:
    """An experiment is cancelled whose child hears neither its heartbeat nor SIGTERM."""
    process = stand_in.worker(home, once=True, grace_seconds=0.2)
    (experiment,) = _experiments(home)
    _wait(home, lambda store, one: len(store.generations(one)) >= 1)
    with open_store(home) as store:
        store.set_status(experiment, Status.CANCELLING)
    begun = time.monotonic()
    return {"exit": process.wait(), "seconds": time.monotonic() - begun}


def orphans(home: Path) -> dict[str, Any]:
    """kill -9 of a worker whose child goes on; the next worker, with one slot, leaves it alone and waits."""
    process = stand_in.worker(home)
    _wait(home, lambda store, one: len(store.generations(one)) >= 2)
    process.kill()
    process.wait()
    with open_store(home) as store:
        running = store.list_experiments(status=Status.RUNNING).items[0]
    code = stand_in.worker(home, once=True).wait()
    with open_store(home) as store:
        ended = [store.get(one).finished_at for one in _experiments(home)]
        second = store.get(_experiments(home)[1]).started_at
    assert running.owner is not None
    assert ended[0] is not None
    assert second is not None
    log = (home / "experiments" / running.id / "log.txt").read_text()
    return {"exit": code, "in turn": second >= ended[0], "log": log}


def away(home: Path) -> dict[str, Any]:
    """A worker while somebody else takes the database away; its children wait for it ``PATIENCE`` seconds."""
    given = child.open_store
    child.open_store = lambda home: given(home, float(os.environ["PATIENCE"]))
    return {"exit": stand_in.worker(home, once=True).wait()}


def _experiments(home: Path) -> list[str]:
    with open_store(home) as store:
        return [one.id for one in reversed(store.list_experiments(limit=1000).items)]


def _wait(home: Path, until: Callable[[Store, str], bool]) -> None:
    (experiment, *_) = _experiments(home)
    deadline = time.monotonic() + 60
    with open_store(home) as store:
        while not until(store, experiment):
            assert time.monotonic() < deadline
            time.sleep(0.01)


TROUBLES = {one.__name__: one for one in (kills, race, drained, deaf, orphans, away)}

if __name__ == "__main__":
    print(json.dumps(TROUBLES[sys.argv[1]](Path(sys.argv[2]))))
