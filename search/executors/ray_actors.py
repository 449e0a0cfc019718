"""Work on a Ray cluster: one actor per worker, each holding what all items share."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, final

import ray
import torch
from ray.exceptions import RayActorError, RayError
from threadpoolctl import threadpool_limits

from bitfront.search.executors.base import (
    MOST_ATTEMPTS,
    Executor,
    Failure,
    Item,
    Result,
    Shared,
    WorkerStartError,
    describe,
)

_IN_FLIGHT = 2  # one item being worked on and one waiting there, so that no actor idles between two
_PATIENCE_S = 5.0


@final
class RayExecutor(Executor):
    """Actors on a Ray cluster, with one CPU and one torch thread each.

    Args:
        workers: number of actors; by default one per CPU of the cluster.
        address: a running cluster's address; by default a cluster is started here. A connection that this
            process already has is used as it is, and left open.

    Raises:
        WorkerStartError: there is no cluster at ``address``, or none could be started; or ``workers`` is below 1.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if workers is not None and workers < 1:
            raise WorkerStartError(f"workers is {workers}: it must be at least 1")
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _connect(workers, address)
        self._last: tuple[Any, Any] | None = None
        self._stayed: tuple[Any, Any, list[_Actor]] | None = None
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))

    def map(
        self,
        make_worker: Callable[[Shared], Callable[[Item], Result]],
        shared: Shared,
        items: Sequence[Item],
        on_result: Callable[[int, Result | Failure], None] | None = None,
    ) -> list[Result | Failure]:
        """See `Executor.map`."""
        results: dict[int, Result | Failure] = {}
        if items:
            actors = self._returning(make_worker, shared)
            dispatch = _Dispatch[Item, Result](make_worker, self._sent(shared), items, actors)
            try:
                dispatch.start(min(self.workers, len(items)))
                for position, result in dispatch.results():
                    results[position] = result
                    if on_result is not None:
                        on_result(position, result)
                self._stayed = (make_worker, shared, dispatch.actors)
            finally:
                if self._stayed is None:
                    dispatch.stop()
        return [results[position] for position in range(len(items))]

    def _returning(self, make_worker: Any, shared: Any) -> list[_Actor]:
        """The actors that stayed after another call, if they fit; others are dismissed, as they hold CPUs."""
        stayed, self._stayed = self._stayed, None
        if stayed is None:
            return []
        if stayed[0] is make_worker and stayed[1] is shared:
            return [actor.asked_again() for actor in stayed[2]]
        _kill(stayed[2])
        return []

    def dismiss(self) -> None:
        """See `Executor.dismiss`."""
        if self._stayed is not None and ray.is_initialized():
            _kill(self._stayed[2])
        self._stayed = None

    def _sent(self, shared: Any) -> Any:
        """The reference of ``shared`` in the object store; the same object is not put there twice."""
        if self._last is None or self._last[0] is not shared:
            self._last = (shared, ray.put(shared))
        return self._last[1]

    def close(self) -> None:
        """Shut the cluster or the connection down if this executor opened it."""
        self._last = None
        self.dismiss()
        if self._started_here and ray.is_initialized():
            ray.shutdown()
        self._started_here = False


def _kill(actors: Sequence[_Actor]) -> None:
    for actor in actors:
        ray.kill(actor.handle)


def _connect(workers: int | None, address: str | None) -> None:
    if address not in (None, "auto"):
        _check_listening(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"include_dashboard": False} if address is None else {"address": address}
    cpus = {"num_cpus": workers} if address is None and workers is not None else {}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **quiet, **cpus)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
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
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise WorkerStartError(
            f"no Ray cluster could be reached at {address!r} ({describe(error)}): check the address and whether "
            "the cluster runs, or choose the executor 'local'"
        ) from error


class _Worker:
    """What runs in an actor's process. Errors come back as text, for not every exception can be sent."""

    def start(self, make_worker: Callable[[Any], Callable[[Any], Any]], shared: Any) -> str | None:
        torch.set_num_threads(1)
        threadpool_limits(1)
        try:
            self._work = make_worker(shared)
        except Exception as error:
            return describe(error)
        return None

    def ready(self) -> str | None:
        return None

    def work(self, item: Any) -> tuple[Any, str | None]:
        try:
            return self._work(item), None
        except Exception as error:
            return None, describe(error)


@dataclass(eq=False)
class _Actor:
    """An actor and the positions of the items sent to it, in the order in which it will work on them."""

    handle: Any
    starting: Any
    stayed: bool = False
    in_flight: deque[tuple[int, Any]] = field(default_factory=deque)

    def asked_again(self) -> Self:
        """The same, to be waited for like a new one: it may have died in the meantime."""
        self.stayed = self.stayed or self.starting is None
        self.starting = self.starting if self.starting is not None else self.handle.ready.remote()
        return self

    @property
    def next_reply(self) -> Any:
        return self.starting if self.starting is not None else self.in_flight[0][1]

    @property
    def expects_reply(self) -> bool:
        return self.starting is not None or bool(self.in_flight)


class _Dispatch(Generic[Item, Result]):
    """One call of `map`: who works on what, what waits, what failed how often."""

    def __init__(
        self,
        make_worker: Callable[[Any], Callable[[Item], Result]],
        shared: Any,
        items: Sequence[Item],
        actors: list[_Actor],
    ) -> None:
        self._make_worker = make_worker
        self._shared = shared
        self._items = items
        self._waiting = deque(range(len(items)))
        self._attempts = [0] * len(items)
        self._failed_on: dict[int, _Actor] = {}
        self.actors = actors
        self._starts_lost = 0

    def start(self, workers: int) -> None:
        for _ in range(workers - len(self.actors)):
            self._add_actor()

    def stop(self) -> None:
        _kill(self.actors)

    def results(self) -> Iterator[tuple[int, Result | Failure]]:
        """(position, result) as they come, until every item has one."""
        left = len(self._items)
        while left:
            self._send()
            replies = {actor.next_reply: actor for actor in self.actors if actor.expects_reply}
            ready, _ = ray.wait(list(replies), num_returns=1)
            actor = replies[ready[0]]
            if actor.starting is not None:
                self._started(actor)
            elif (settled := self._settled(actor)) is not None:
                left -= 1
                yield settled

    def _add_actor(self) -> None:
        handle = ray.remote(_Worker).options(num_cpus=1, max_restarts=0, max_task_retries=0).remote()
        self.actors.append(_Actor(handle, handle.start.remote(self._make_worker, self._shared)))

    def _send(self) -> None:
        # Round by round, so that the last items are spread over all actors.
        for depth in range(_IN_FLIGHT):
            for actor in self.actors:
                if actor.starting is None and len(actor.in_flight) == depth:
                    position = self._next_for(actor)
                    if position is not None:
                        actor.in_flight.append((position, actor.handle.work.remote(self._items[position])))

    def _next_for(self, actor: _Actor) -> int | None:
        """The first waiting item that did not just fail on this actor, unless there is no other actor to try."""
        alone = not any(other.starting is None for other in self.actors if other is not actor)
        for position in self._waiting:
            if alone or self._failed_on.get(position) is not actor:
                self._waiting.remove(position)
                return position
        return None

    def _started(self, actor: _Actor) -> None:
        try:
            error = ray.get(actor.starting)
        except RayActorError as lost:
            self._starts_lost += not actor.stayed
            if self._starts_lost >= MOST_ATTEMPTS:
                raise WorkerStartError(f"{self._starts_lost} workers died while they started: {lost}") from lost
            self._replace(actor)
            return
        except RayError as refused:
            raise WorkerStartError(f"no worker could be made: {describe(refused)}") from refused
        if error is not None:
            raise WorkerStartError(f"no worker could be made: {error}")
        self._starts_lost = 0
        actor.starting = None

    def _settled(self, actor: _Actor) -> tuple[int, Result | Failure] | None:
        position, reply = actor.in_flight.popleft()
        try:
            result, error = ray.get(reply)
        except RayActorError as lost:
            self._replace(actor)
            return self._failed(position, actor, f"its worker died: {describe(lost)}")
        except RayError as lost:
            return self._failed(position, actor, describe(lost))
        return (position, result) if error is None else self._failed(position, actor, error)

    def _failed(self, position: int, actor: _Actor, error: str) -> tuple[int, Failure] | None:
        self._attempts[position] += 1
        if self._attempts[position] >= MOST_ATTEMPTS:
            return position, Failure(error, self._attempts[position])
        self._failed_on[position] = actor
        self._waiting.append(position)
        return None

    def _replace(self, actor: _Actor) -> None:
        """Put a new actor in the place of a dead one; what merely waited there goes back to the queue's head."""
        ray.kill(actor.handle)
        self.actors.remove(actor)
        self._waiting.extendleft(position for position, _ in reversed(actor.in_flight))
        actor.in_flight.clear()
        self._add_actor()
