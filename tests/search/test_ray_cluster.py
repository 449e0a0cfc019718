"""A cluster of several machines, of which one goes away in the middle of the work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Failure

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def where(shared: float) -> Callable[[int], tuple[int, str, int]]:
    """A worker that takes a while, and tells the square, its machine and its process."""
    import ray

    node = ray.get_runtime_context().get_node_id()

    def work(item: int) -> tuple[int, str, int]:
        time.sleep(shared)
        return item * item, node, os.getpid()

    return work


@pytest.fixture
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_machine_that_goes_away_and_a_killed_worker_lose_nothing(cluster: Any) -> None:
    others = [cluster.add_node(num_cpus=1) for _ in range(2)]
    heard: list[int] = []
    nodes: set[str] = set()
    removed: list[str] = []
    killed: list[int] = []

    def disturb(position: int, result: tuple[int, str, int] | Failure) -> None:
        assert not isinstance(result, Failure)
        heard.append(position)
        nodes.add(result[1])
        if len(nodes) == 3 and not removed:
            removed.append(others[0].node_id)
            cluster.remove_node(others[0], allow_graceful=False)
        elif removed and not killed and result[1] != removed[0]:
            killed.append(result[2])
            os.kill(result[2], 9)

    with EXECUTORS.get("ray")(workers=3, address=cluster.address) as executor:
        results = executor.map(where, 0.1, list(range(120)), disturb)
    assert removed
    assert killed
    squares = [result if isinstance(result, Failure) else result[0] for result in results]
    assert squares == [item * item for item in range(120)]
    assert sorted(heard) == list(range(120))
