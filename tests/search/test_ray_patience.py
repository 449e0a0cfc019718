"""Clusters without a machine for a worker: given up in the end, unless they grow or are merely busy."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, WorkerStartError

pytestmark = pytest.mark.ray

SPLIT = {"half": 1.0, "other_half": 1.0}


def doubling(shared: float) -> Callable[[int], int]:
    def work(item: int) -> int:
        time.sleep(shared)
        return 2 * item

    return work


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines that each have a half of what `SPLIT` asks of one."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    head = {"num_cpus": 1, "include_dashboard": False, "resources": {"half": 1}}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1, resources={"other_half": 1})
    with closing(EXECUTORS.get("ray")(workers=1, address=made.address)):
        yield made
    made.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def executor(patience_s: float) -> Executor:
    return EXECUTORS.get("ray")(workers=2, patience_s=patience_s)


def test_a_machine_that_has_worked_is_missed_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    capacity = pytest.importorskip("bitfront.search.executors.ray_capacity")
    clock = iter([0.0, 1000.0, 1001.0, 1010.0])
    monkeypatch.setattr(capacity.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(capacity, "room", lambda needed: 0)
    monkeypatch.setattr(capacity.Patience, "_told", lambda self: "no machine")
    patience = capacity.Patience({}, 10.0)
    patience.check()  # at 0 s none is there yet; then one joins, works, and goes
    patience.renew()
    patience.check()
    patience.check()
    with pytest.raises(WorkerStartError, match="no machine"):
        patience.check()


def test_what_no_single_machine_has_is_given_up_in_time(cluster: Any) -> None:
    """Both together have all of it, so that their sum would wait forever."""
    begun = time.monotonic()
    with closing(executor(1.0)) as hopeless, pytest.raises(WorkerStartError) as refused:
        hopeless.map(doubling, 0.0, [1], resources=SPLIT)
    assert 1.0 <= time.monotonic() - begun < 60.0
    assert '--resources=\'{"half": 1, "other_half": 1}\'' in str(refused.value)
    assert "of the 2 in the Ray cluster none has had all of it in 1 s" in str(refused.value)


def test_a_busy_machine_is_waited_for(cluster: Any) -> None:
    """Longer than patience for one that is not there, while another executor holds what is needed."""
    with closing(executor(0.0)) as first, closing(executor(0.0)) as second:
        first.map(doubling, 0.0, [1], resources={"half": 1})
        threading.Timer(3.0, first.dismiss).start()
        begun = time.monotonic()
        assert second.map(doubling, 0.1, [1, 2, 3], resources={"half": 1}) == [2, 4, 6]
        assert time.monotonic() - begun > 2.5


def test_a_machine_that_comes_late_is_used(cluster: Any) -> None:
    with closing(executor(120.0)) as patient, ThreadPoolExecutor() as threads:
        mapped = threads.submit(patient.map, doubling, 0.0, [4], resources=SPLIT)
        time.sleep(2.5)
        assert not mapped.done()
        late = cluster.add_node(num_cpus=1, resources=SPLIT)
        assert mapped.result() == [8]
    cluster.remove_node(late)
