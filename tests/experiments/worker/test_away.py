"""A database that is away for a while under a worker and the experiment that its child works on."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.benchmarks.throwaway_postgresql import Server, throwaway_server
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import UnsupportedError

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

_HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stand_in", _HERE / "stand_in.py")
assert _SPEC is not None
assert _SPEC.loader is not None
stand_in = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stand_in)

SPEC = {"generations": 40, "seconds": 0.05}


@pytest.fixture
def server() -> Iterator[Server]:
    """A careful one: what was committed is there after a crash."""
    try:
        with throwaway_server(durable=True) as made:
            yield made
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture
def home(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BITFRONT_STORE", server.url.format("postgres"))
    return tmp_path / "home"


def undisturbed(folder: Path) -> list[Any]:
    with open_store(folder) as store:  # another home, so that it is in a file there
        experiment = store.create_experiment("one", {**SPEC, "seconds": 0.0}, 7)
        store.claim(experiment.id)
        stand_in.search(store, folder, experiment)
        found: list[Any] = stand_in.front(store, experiment.id)
        return found


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def befall(server: Server, home: Path, store: Store, one: str, seconds: float, patience: float) -> str:
    """Take the database away for so long in the middle of a search; what worker and child said."""
    worker = subprocess.Popen(
        [sys.executable, str(_HERE / "trouble.py"), "away", str(home)],
        env={**os.environ, "PATIENCE": str(patience)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait(lambda: len(store.generations(one)) >= 3)
    server.stop()
    time.sleep(seconds)
    server.start()
    out, told = worker.communicate(timeout=120)
    assert out == '{"exit": 0}\n', told
    return told


@pytest.mark.parametrize(
    ("seconds", "patience", "crashes"),
    [(30.0, 60.0, 0), (8.0, 1.0, 1)],
    ids=["30 s, and what is left of a minute's patience", "longer than the child waits, with a patience of 1 s"],
)
def test_nothing_is_lost_and_nothing_is_there_twice(
    server: Server, home: Path, tmp_path: Path, seconds: float, patience: float, crashes: int
) -> None:
    with open_store(home) as store:
        one = store.create_experiment("one", SPEC, 7).id
        befall(server, home, store, one, seconds, patience)
        assert store.get(one).status is Status.COMPLETED
        assert stand_in.front(store, one) == undisturbed(tmp_path / "calm")
    log = (home / "experiments" / one / "log.txt").read_text()
    assert log.count("worker: queued again") == crashes
