from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch
from numpy.typing import NDArray

from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, Failure, WorkerStartError, device_resource
from bitfront.search.executors.local import one_thread
from bitfront.supernet.errors import UnknownNameError, UnsupportedError


def failing_at_first(shared: tuple[Path, NDArray[np.float64]]) -> Callable[[int], float]:
    """A worker that leaves a file per try, and refuses item 4 once, item 5 twice and item 7 always."""
    folder, factors = shared
    refusals = {4: 1, 5: 2, 7: 99}

    def work(item: int) -> float:
        tries = len(list(folder.glob(f"{item}-*")))
        (folder / f"{item}-{tries}").touch()
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
        if tries < refusals.get(item, 0):
            raise RuntimeError(f"try {tries} of {item}")
        return float(factors[item] * item)

    return work


def broken(shared: str) -> Callable[[int], int]:
    raise RuntimeError(f"weights of {shared} do not fit")


def dying_on(shared: tuple[Path, int]) -> Callable[[int], int]:
    """A worker whose process dies on item 3 so many times, leaving a file each time."""
    folder, deaths = shared

    def work(item: int) -> int:
        time.sleep(0.02)
        died = len(list(folder.glob("death-*")))
        if item == 3 and died < deaths:
            (folder / f"death-{died}").touch()
            os._exit(1)
        return item * item

    return work


def dying_at_start(shared: None) -> Callable[[int], int]:
    os._exit(1)


def reporting_pid(shared: None) -> Callable[[int], int]:
    def work(item: int) -> int:
        time.sleep(0.1)
        return os.getpid()

    return work


def numbered(shared: list[Path]) -> Callable[[int], tuple[int, int]]:
    """A worker that leaves a file when it is made, and tells its process and how many items it has had."""
    (shared[0] / f"made-{time.monotonic_ns()}").touch()
    had = 0

    def work(item: int) -> tuple[int, int]:
        nonlocal had
        had += 1
        time.sleep(0.02)
        return os.getpid(), had

    return work


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[Executor]:
    ray = pytest.importorskip("ray")
    # Worker processes can not import a test module, so its functions travel as code.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with EXECUTORS.get("ray")(workers=2, resources={device_resource("watch"): 1}) as executor:
        yield executor
    assert not ray.is_initialized()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "ray":
        chosen: Executor = request.getfixturevalue("ray_executor")
        return chosen
    return EXECUTORS.get("local")()


class TestEveryExecutor:
    def test_nothing_is_lost(self, executor: Executor, tmp_path: Path) -> None:
        """Order, announcements, retries and poison, in one call because a Ray actor takes seconds to start."""
        heard: dict[int, float | Failure] = {}
        threads = torch.get_num_threads()

        def listen(position: int, result: float | Failure) -> None:
            assert position not in heard
            heard[position] = result

        shared, items = (tmp_path, np.linspace(0.0, 1.0, 12)), list(range(11, -1, -1))
        results = executor.map(failing_at_first, shared, items, listen)
        expected: list[float | Failure] = [shared[1][item] * item for item in items]
        expected[items.index(7)] = Failure("RuntimeError: try 2 of 7", attempts=3)
        assert results == expected
        assert [heard[position] for position in range(12)] == results
        tries = {item: len(list(tmp_path.glob(f"{item}-*"))) for item in items}
        assert tries == {**dict.fromkeys(items, 1), 4: 2, 5: 3, 7: 3}
        assert torch.get_num_threads() == threads

    def test_workers_live_on_while_they_are_made_of_the_same_objects(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        shared = [tmp_path]
        first = executor.map(numbered, shared, [0] * 6)
        assert executor.map(numbered, shared, []) == []
        again = executor.map(numbered, shared, [0] * 6)
        had = [result for result in (*first, *again) if not isinstance(result, Failure)]
        assert len(set(had)) == 12  # one that was made anew would count from 1 again
        assert len({pid for pid, _ in had}) <= len(list(tmp_path.iterdir())) <= executor.workers
        made = len(list(tmp_path.iterdir()))
        (other,) = executor.map(numbered, [tmp_path], [0])  # equal, but another object
        assert isinstance(other, tuple)
        assert other[1] == 1
        assert len(list(tmp_path.iterdir())) > made

    def test_it_shows_that_it_lives_while_workers_are_at_work(
        self, executor: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also while nothing comes: items take several looks here."""
        monkeypatch.setattr("bitfront.search.executors.ray_dispatch._LOOK_EVERY_S", 0.02)
        waits = 0

        def count() -> None:
            nonlocal waits
            waits += 1

        executor.on_wait = count
        executor.map(reporting_pid, None, [1, 2])
        assert waits == 2 if type(executor).__name__ == "LocalExecutor" else waits > 4

        def cancelled() -> None:
            raise OSError("cancelled")

        executor.on_wait = cancelled
        try:
            with pytest.raises(OSError, match="cancelled"):
                executor.map(reporting_pid, None, [1, 2])
        finally:
            executor.on_wait = None
        assert len(executor.map(reporting_pid, None, [1, 2])) == 2

    def test_no_items_need_no_worker(self, executor: Executor) -> None:
        assert executor.map(broken, "digits", []) == []

    def test_a_worker_that_can_not_be_made_ends_the_call(self, executor: Executor) -> None:
        with pytest.raises(WorkerStartError, match="RuntimeError: weights of digits do not fit"):
            executor.map(broken, "digits", [1, 2])


def test_what_the_listener_raises_ends_the_call(tmp_path: Path) -> None:
    def listen(position: int, result: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        EXECUTORS.get("local")().map(dying_on, (tmp_path, 0), [1, 2, 3], listen)


@pytest.mark.ray
class TestRay:
    def test_an_item_that_kills_every_worker_is_reported(self, ray_executor: Executor, tmp_path: Path) -> None:
        results = ray_executor.map(dying_on, (tmp_path, 99), list(range(6)))
        poison = results.pop(3)
        assert isinstance(poison, Failure)
        assert poison.attempts == 3
        assert "its worker died" in poison.error
        assert results == [0, 1, 4, 16, 25]
        assert len(list(tmp_path.glob("death-*"))) == 3

    def test_a_worker_killed_from_outside_loses_nothing(self, ray_executor: Executor) -> None:
        killed: list[int] = []

        def kill_the_first(position: int, result: int | Failure) -> None:
            if not killed and isinstance(result, int):
                killed.append(result)
                os.kill(result, 9)

        pids = ray_executor.map(reporting_pid, None, list(range(12)), kill_the_first)
        assert killed
        assert all(isinstance(pid, int) for pid in pids)
        assert len(set(pids)) >= 2
        assert os.getpid() not in pids

    def test_a_worker_that_died_between_two_calls_costs_no_attempt(
        self, ray_executor: Executor, tmp_path: Path
    ) -> None:
        shared = [tmp_path]
        before = ray_executor.map(numbered, shared, [0] * 8)
        pids = {result[0] for result in before if isinstance(result, tuple)}
        for pid in pids:
            os.kill(pid, 9)
        again = ray_executor.map(numbered, shared, [0] * 2)
        assert all(isinstance(result, tuple) and result[0] not in pids for result in again)

    def test_two_that_need_what_a_machine_has_once_never_work_at_once(
        self, ray_executor: Executor, tmp_path: Path
    ) -> None:
        needed = {device_resource("watch"): 1.0}
        results = ray_executor.map(numbered, [tmp_path], [0] * 6, resources=needed)
        assert len({result[0] for result in results if isinstance(result, tuple)}) == 1
        assert len(list(tmp_path.iterdir())) == 1

    def test_what_no_machine_has_is_named(self, ray_executor: Executor) -> None:
        told = (
            r"1 of 'device:phone' on one machine; .* is 0 of 'device:phone'.*--resources='{\"device:phone\": 1}'"
        )
        with pytest.raises(WorkerStartError, match=told):
            ray_executor.map(reporting_pid, None, [1], resources={device_resource("phone"): 1})

    def test_an_amount_of_nothing_is_not_asked_for(self, ray_executor: Executor) -> None:
        (pid,) = ray_executor.map(reporting_pid, None, [1], resources={device_resource("phone"): 0})
        assert isinstance(pid, int)

    @pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf, 1.5])
    def test_an_amount_that_is_none_is_refused(self, ray_executor: Executor, amount: float) -> None:
        with pytest.raises(WorkerStartError, match=r"'device:watch': ask for a share from 0 to 1"):
            ray_executor.map(reporting_pid, None, [1], resources={device_resource("watch"): amount})

    def test_fewer_work_while_workers_is_lower(self, ray_executor: Executor, tmp_path: Path) -> None:
        shared = [tmp_path]
        ray_executor.map(numbered, shared, [0] * 6)
        ray_executor.workers = 1
        try:
            results = ray_executor.map(numbered, shared, [0] * 6)
        finally:
            ray_executor.workers = 2
        assert len({result[0] for result in results if isinstance(result, tuple)}) == 1
        assert len(list(tmp_path.iterdir())) <= 2

    @pytest.mark.slow
    def test_workers_that_die_while_they_start_end_the_call(self, ray_executor: Executor) -> None:
        with pytest.raises(WorkerStartError, match="3 workers died while they started"):
            ray_executor.map(dying_at_start, None, [1])

    def test_a_connection_that_was_open_before_is_left_open(self, ray_executor: Executor) -> None:
        ray = pytest.importorskip("ray")
        with EXECUTORS.get("ray")() as second:
            assert second.map(broken, "digits", []) == []
        assert ray.is_initialized()


def test_one_thread_is_for_numpy_too_and_only_inside() -> None:
    def threads() -> list[int]:
        return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())]

    with threadpoolctl.threadpool_limits(limits=2):
        before = threads()
        assert set(before[1:]) == {2}
        with one_thread():
            assert set(threads()) == {1}
        assert threads() == before


def test_bad_settings_are_named() -> None:
    with pytest.raises(UnsupportedError, match="choose the executor 'ray'"):
        EXECUTORS.get("local")(workers=4)
    with pytest.raises(WorkerStartError, match="workers is 0"):
        EXECUTORS.get("ray")(workers=0)
    with pytest.raises(WorkerStartError, match="patience_s is -1"):
        EXECUTORS.get("ray")(patience_s=-1)
    with pytest.raises(UnknownNameError, match="did you mean 'local'"):
        EXECUTORS.get("locl")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"reached at '127\.0\.0\.1:1'"),
        ("127.0.0.1:99999", r"reached at '127\.0\.0\.1:99999'"),
        ("ray://127.0.0.1:1", "write HOST:PORT"),
        ("head", "write HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_named(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(WorkerStartError, match=message):
        EXECUTORS.get("ray")(address=address)


def test_without_an_address_a_cluster_of_its_own_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's that runs on this machine is not joined, as Ray does where it is told no address."""
    asked: dict[str, object] = {}
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **options: asked.update(options))
    EXECUTORS.get("ray")(workers=2, resources={"device:phone": 1})
    assert (asked["address"], asked["num_cpus"], asked["resources"]) == ("local", 2, {"device:phone": 1})
