"""A real ``bitfront serve`` with its worker: told to end, and killed under an experiment."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.roster import living_workers

pytestmark = pytest.mark.slow

SPEC = """
space: digits
data: digits
device: bitfusion
seed: 6
supernet: {warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}
samples: {fp32: 20, quantized: 12, held_out: 10}
search: {population: 16, generations: 40}
front: {measure: 4}
export: {pick: best}
"""


def start(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """What it tells goes to a file, as what it started may outlive it and would keep a pipe open."""
    with home.with_suffix(".told").open("ab") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "bitfront.experiments.cli", *arguments],
            env={**os.environ, "BITFRONT_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )


class Service:
    """``bitfront serve`` in a home, as often as it is started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{one.getsockname()[1]}"

    def start(self) -> int:
        """Until the server answers and a new worker is heard of; the worker's pid."""
        before = {one.owner.pid for one in living_workers(self.home)}
        self.process = start(self.home, "serve", "--port", self.url.rpartition(":")[2])
        until = time.monotonic() + 120
        while time.monotonic() < until:
            assert self.process.poll() is None
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                if found := {one.owner.pid for one in living_workers(self.home)} - before:
                    return found.pop()
            time.sleep(0.1)
        raise AssertionError("server and worker did not begin")

    def launch(self, spec: str) -> str:
        request = urllib.request.Request(
            f"{self.url}/api/v1/experiments", spec.encode(), {"Content-Type": "application/yaml"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            identity: str = json.load(answer)["id"]
            return identity

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals) -> str:
        """With a signal; what it told."""
        assert self.process is not None
        self.process.send_signal(number)
        code, told = self.process.wait(timeout=60), self.home.with_suffix(".told").read_text()
        assert code == 0, told
        return told


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "served")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_its_worker_ends_with_it_and_the_store_is_closed(service: Service, number: signal.Signals) -> None:
    worker = service.start()
    told = service.end(number)
    assert "Traceback" not in told
    assert not alive(worker)
    assert not list((service.home / "workers").iterdir())  # it said goodbye, and was not killed
    assert not list(
        service.home.glob("bitfront.sqlite-*")
    )  # whoever closes the store last leaves no log beside it


def test_killed_with_what_it_started_it_goes_on_as_if_undisturbed(service: Service, tmp_path: Path) -> None:
    """First the server alone, then with its child in the middle of the search; each time it is started again."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    calm = start(tmp_path / "calm", "run", str(tmp_path / "spec.yaml"))
    worker = service.start()
    one = service.launch(SPEC)

    wait(service.home, one, "2")
    service.kill()
    child = owner(service.home, one)
    gone(worker)  # it does not outlive its server
    assert alive(child)
    worker = service.start()
    assert owner(service.home, one) == child  # nobody disturbs it

    wait(service.home, one, "5", generations=5)
    service.kill()
    os.kill(owner(service.home, one), signal.SIGKILL)
    gone(worker)
    service.start()
    wait_for_end(service.home, one)
    service.end(signal.SIGTERM)
    assert calm.wait(timeout=300) == 0
    assert what_was_found(service.home) == what_was_found(tmp_path / "calm")
    log = (service.home / "experiments" / one / "log.txt").read_text()
    assert log.count("worker: queued again") == 1
    assert log.count("the search goes on after generation") == 1


def wait(home: Path, one: str, stage: str, generations: int = 0) -> None:
    """Until the experiment is in a stage, and has so many generations."""
    until = time.monotonic() + 300
    with open_store(home) as store:
        while time.monotonic() < until:
            now = store.get(one)
            assert not now.status.is_over, f"it was too quick: {now}"
            there = now.status is Status.RUNNING and now.stage.startswith(stage)
            if there and len(store.generations(one)) >= generations:
                return
            time.sleep(0.01)
    raise AssertionError(f"{one} is not in stage {stage}")


def wait_for_end(home: Path, one: str) -> None:
    until = time.monotonic() + 300
    with open_store(home) as store:
        while (now := store.get(one)).status is not Status.COMPLETED:
            assert now.status not in (Status.FAILED, Status.CANCELLED), now.reason
            assert time.monotonic() < until
            time.sleep(0.1)


def owner(home: Path, one: str) -> int:
    with open_store(home) as store:
        found = store.get(one).owner
        assert found is not None
        return found.pid


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def gone(pid: int) -> None:
    until = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def only(home: Path) -> Experiment:
    with open_store(home) as store:
        (one,) = store.list_experiments().items
        return one


def what_was_found(home: Path) -> list[Any]:
    one = only(home)
    assert one.status is Status.COMPLETED
    with open_store(home) as store:
        history = [(gen.index, gen.evaluations, gen.hypervolume) for gen in store.generations(one.id)]
        assert [index for index, *_ in history] == list(range(len(history)))
        found = store.candidates(one.id, limit=10_000).items
        front = [(member.candidate, member.top1_validation, member.top1_test) for member in store.front(one.id)]
        return [history, found, front]
