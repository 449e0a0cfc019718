"""A worker, the real pipeline, and kill -9 of both and of Ray: the front is that of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status

SPEC = """
space: digits
data: digits
device: bitfusion
seed: 5
supernet: {warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}
samples: {fp32: 20, quantized: 12, held_out: 10}
search: {population: 16, generations: 30}
front: {measure: 4}
export: {pick: best}
"""


ISLANDS = SPEC.replace(
    "population: 16, generations: 30", "population: 8, generations: 30, islands: {count: 2, every: 1, migrants: 1}"
)
ON_RAY = f"{ISLANDS}executor: {{kind: ray, workers: 1}}\n"


def start(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BITFRONT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "bitfront.experiments.cli", *arguments], env=environment)


def call(home: Path, *arguments: str) -> None:
    assert start(home, *arguments).wait(timeout=400) == 0


def only(home: Path) -> Experiment:
    with open_store(home) as store:
        (one,) = store.list_experiments().items
        return one


def kill_child_at(home: Path, stage: str) -> None:
    """Kill -9 the process that works on the experiment, once it has begun a stage."""
    until = time.monotonic() + 300
    with open_store(home) as store:
        while time.monotonic() < until:
            (one,) = store.list_experiments().items
            if one.status is Status.RUNNING and one.stage.startswith(stage):
                assert one.owner is not None
                with suppress(ProcessLookupError):
                    os.kill(one.owner.pid, signal.SIGKILL)
                    return
            assert one.status is not Status.COMPLETED, "it was too quick to be killed"
            time.sleep(0.02)
    raise AssertionError(f"stage {stage} did not begin: {only(home)}")


def kill_ray_at(home: Path, generations: int) -> int:
    """Kill -9 all of the cluster that the experiment's process started, in the middle of the search; how many."""
    until = time.monotonic() + 300
    with open_store(home) as store:
        one = only(home)
        while len(store.generations(one.id)) < generations:
            assert time.monotonic() < until, only(home)
            time.sleep(0.02)
        now = store.get(one.id)
    assert now.status is Status.RUNNING
    assert now.stage.startswith("5"), f"it was too quick to be killed: {now.stage}"
    assert now.owner is not None
    found = [pid for pid in in_session(now.owner.pid) if pid != now.owner.pid]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def in_session(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(path.parent.name))
    return found


def what_was_found(home: Path) -> list[Any]:
    with open_store(home) as store:
        one = only(home)
        history = [(gen.index, gen.evaluations, gen.hypervolume) for gen in store.generations(one.id)]
        found = store.candidates(one.id, limit=10_000).items
        front = [(member.candidate, member.top1_validation, member.top1_test) for member in store.front(one.id)]
        return [history, found, front]


@pytest.mark.slow
def test_worker_and_child_are_killed_and_the_front_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    call(calm, "run", str(spec))

    call(troubled, "run", str(spec), "--queue")
    worker = start(troubled, "worker", "--poll", "0.1")
    kill_child_at(troubled, "2")  # the worker sees to it that this goes on
    kill_child_at(troubled, "5")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    call(troubled, "worker", "--once", "--poll", "0.1")

    assert only(troubled).status is Status.COMPLETED
    assert what_was_found(troubled) == what_was_found(calm)
    log = (troubled / "experiments" / only(troubled).id / "log.txt").read_text()
    assert log.count("worker: its process is gone") == 2
    assert not list((troubled / "workers").iterdir())


@pytest.mark.ray
@pytest.mark.slow
def test_ray_is_killed_and_the_front_is_that_of_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process waits a minute for its cluster, here 5 s, and dies of it; the next one starts another."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    (tmp_path / "calm.yaml").write_text(ISLANDS)
    (tmp_path / "ray.yaml").write_text(ON_RAY)
    call(calm, "run", str(tmp_path / "calm.yaml"))  # without Ray, which makes no difference

    call(troubled, "run", str(tmp_path / "ray.yaml"), "--queue")
    worker = start(troubled, "worker", "--once", "--poll", "0.1")
    assert kill_ray_at(troubled, 5) >= 3  # of all it started: what stores, what schedules, and what works
    assert worker.wait(timeout=400) == 0

    assert only(troubled).status is Status.COMPLETED
    assert what_was_found(troubled) == what_was_found(calm)
    log = (troubled / "experiments" / only(troubled).id / "log.txt").read_text()
    assert log.count("worker: queued again") == 1
    assert log.count("the search goes on after generation") == 1
