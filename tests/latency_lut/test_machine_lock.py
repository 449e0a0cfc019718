from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from bitfront.latency_lut import machine_lock
from bitfront.latency_lut.bundle.profile import Protocol
from bitfront.latency_lut.devices.host_onnxruntime import HostONNXRuntime
from bitfront.latency_lut.machine_lock import MachineBusyWarning, measuring_alone

HOLDING = """
import sys
from bitfront.latency_lut import machine_lock
from pathlib import Path
machine_lock.lock_path = lambda: Path(sys.argv[1])
with machine_lock.measuring_alone():
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "measuring.lock"
    monkeypatch.setattr(machine_lock, "lock_path", lambda: place)
    monkeypatch.setattr(machine_lock, "_POLL_SECONDS", 0.02)
    return place


def holder(path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    return child


@pytest.mark.parametrize("end", ["finished", "killed"])
def test_it_waits_for_the_other_process(path: Path, end: str) -> None:
    """It says so once, lets others work while it waits, and needs nobody who clears up after the dead."""
    polls = []

    def waiting() -> None:
        polls.append(child.poll())
        if len(polls) == 3:
            assert child.stdin is not None
            child.kill() if end == "killed" else child.stdin.write("\n")
            child.stdin.close()

    with holder(path) as child:
        with pytest.warns(MachineBusyWarning, match="another process measures") as heard, measuring_alone(waiting):
            child.wait()
        assert len(heard) == 1
    assert polls[:3] == [None, None, None]


def test_it_waits_for_nobody_when_it_is_free(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with measuring_alone(lambda: pytest.fail("waited")):
                pass


def test_what_is_raised_while_waiting_ends_the_waiting(path: Path) -> None:
    def cancelled() -> None:
        raise KeyboardInterrupt

    with measuring_alone(), pytest.warns(MachineBusyWarning), pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with measuring_alone(cancelled):
            pytest.fail("it was not alone")


def test_a_device_measures_alone(path: Path) -> None:
    """Whoever measures on the same machine meanwhile is kept out, and comes in afterwards."""
    device = HostONNXRuntime()
    device.protocol = Protocol(rounds=2, warm_calls=0, sample_ns=1)
    tried: list[bool] = []

    def call() -> None:
        with pytest.warns(MachineBusyWarning), pytest.raises(TimeoutError):  # noqa: SIM117
            with measuring_alone(given_up):
                tried.append(True)
        tried.append(False)

    def given_up() -> None:
        raise TimeoutError

    device.compile_part = lambda part, rng: call  # type: ignore[method-assign]
    device.sample({"a": lambda: None}, {}, np.random.default_rng(0))  # type: ignore[dict-item, return-value]
    assert tried
    assert not any(tried)
    with measuring_alone():
        pass
