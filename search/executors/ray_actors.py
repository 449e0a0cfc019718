"""Work on a Ray cluster: one actor per worker, each holding what all items share."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import ray

from bitfront.search.executors.base import (
    Executor,
    Failure,
    Item,
    Result,
    Shared,
    WorkerStartError,
    describe,
)
from bitfront.search.executors.ray_capacity import Patience, needs, room
from bitfront.search.executors.ray_dispatch import Dispatch
from bitfront.search.executors.ray_pool import Pool

_ANSWER_S = 5.0
_PATIENCE_S = 30.0


@final
class RayExecutor(Executor):
    """Actors on a Ray cluster, with one CPU and one thread each. They hold their CPUs until `close`.

    Args:
        workers: number of actors; by default one per CPU of the cluster.
        address: a running cluster's address; by default a cluster is started here. A connection that this
            process already has is used as it is, and left open.
        resources: what this machine offers beside CPUs, where a cluster is started here; see `device_resource`.
        patience_s: seconds in which a cluster may be without any machine that could hold a worker, at least 0.
            Clusters that grow on demand need some minutes. By default half a minute, for machines that come
            late, and none where a cluster is started here. A busy cluster is waited for without end.

    Raises:
        WorkerStartError: there is no cluster at ``address``, or none could be started; or ``workers`` is below 1,
            or ``patience_s`` below 0.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        resources: Mapping[str, float] | None = None,
        patience_s: float | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise WorkerStartError(f"workers is {workers}: it must be at least 1")
        if patience_s is not None and not patience_s >= 0:
            raise WorkerStartError(f"patience_s is {patience_s}: it must be at least 0")
        self._started_here = not ray.is_initialized()
        grows_not = self._started_here and address is None
        self._patience_s = patience_s if patience_s is not None else 0.0 if grows_not else _PATIENCE_S
        if self._started_here:
            _connect(workers, address, resources or {})
        self._sent: tuple[Any, Any] | None = None
        self._pool: Pool | None = None
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))

    def map(
        self,
        make_worker: Callable[[Shared], Callable[[Item], Result]],
        shared: Shared,
        items: Sequence[Item],
        on_result: Callable[[int, Result | Failure], None] | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> list[Result | Failure]:
        """See `Executor.map`."""
        results: dict[int, Result | Failure] = {}
        if items:
            needed = needs(resources or {})
            patience = Patience(needed, self._patience_s)
            patience.check()
            pool = self._pool_of(make_worker, shared, needed)
            try:
                pool.ready(min(self.workers, len(items), room(needed) if needed else self.workers) or 1)
                work = Dispatch[Item, Result](pool, items, patience, self.workers, self.on_wait)
                for position, result in work.results():
                    results[position] = result
                    if on_result is not None:
                        on_result(position, result)
            except BaseException:
                self.dismiss()  # its actors may still be at work
                raise
        return [results[position] for position in range(len(items))]

    def _pool_of(self, make_worker: Callable[..., Any], shared: Any, resources: Mapping[str, float]) -> Pool:
        """The actors of the call before, if they were made of the very same objects."""
        pool, same = self._pool, self._sent is not None and self._sent[0] is shared
        if pool is not None and same and pool.make_worker is make_worker and pool.resources == resources:
            return pool
        self.dismiss()
        if self._sent is None or not same:
            self._sent = (shared, ray.put(shared))
        self._pool = Pool(make_worker, self._sent[1], resources)
        return self._pool

    def dismiss(self) -> None:
        """See `Executor.dismiss`."""
        if self._pool is not None and ray.is_initialized():
            self._pool.stop()
        self._pool = None

    def close(self) -> None:
        """End the workers, and shut the cluster or the connection down if this executor opened it."""
        self.dismiss()
        self._sent = None
        if self._started_here and ray.is_initialized():
            ray.shutdown()
        self._started_here = False


def _connect(workers: int | None, address: str | None, resources: Mapping[str, float]) -> None:
    if address not in (None, "auto"):
        _check_listening(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if address is None:
        # "local": without an address, Ray would join a cluster that somebody else runs on this machine.
        here = {"num_cpus": workers, "resources": dict(resources)}
        options = {"address": "local", "include_dashboard": False, **here}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # of a node that does not start, Ray raises nothing more precise
        where = f"reached at {address!r}" if address else "started here"
        raise WorkerStartError(
            f"no Ray cluster could be {where} ({describe(error)}): "
            "check the address, or choose the executor 'local'"
        ) from error


def _check_listening(address: str) -> None:
    """Ask the address itself first, for Ray tries a dead one for ten minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise WorkerStartError(
            f"{address!r} is no address of a Ray cluster: write HOST:PORT of its head, or 'auto'"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise WorkerStartError(
            f"no Ray cluster could be reached at {address!r} ({describe(error)}): check the address and whether "
            "the cluster runs, or choose the executor 'local'"
        ) from error
