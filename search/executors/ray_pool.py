"""Workers on a Ray cluster: actors that hold what all items share, as long as that is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from bitfront.search.executors.base import MOST_ATTEMPTS, WorkerStartError, describe
from bitfront.search.executors.threads import one_thread_for_good


class _Worker:
    """What runs in an actor's process. Errors come back as text, for not every exception can be sent."""

    def start(self, make_worker: Callable[[Any], Callable[[Any], Any]], shared: Any) -> str | None:
        one_thread_for_good()
        try:
            self._work = make_worker(shared)
        except Exception as error:
            return describe(error)
        one_thread_for_good()  # what it imported brought thread pools of its own
        return None

    def still_there(self) -> None:
        """An answer is all that is asked for."""

    def work(self, item: Any) -> tuple[Any, str | None]:
        try:
            return self._work(item), None
        except Exception as error:
            return None, describe(error)


@dataclass(eq=False)
class Actor:
    """An actor and the positions of the items sent to it, in the order in which it will work on them.

    ``starting`` is the answer that it must give before anything is sent to it; ``is_new`` is False while that
    only says whether an actor of an earlier call still lives.
    """

    handle: Any
    starting: Any
    is_new: bool = True
    in_flight: deque[tuple[int, Any]] = field(default_factory=deque)

    @property
    def next_reply(self) -> Any:
        """The answer that comes next."""
        return self.starting if self.starting is not None else self.in_flight[0][1]

    @property
    def expects_reply(self) -> bool:
        """Whether an answer is to come at all."""
        return self.starting is not None or bool(self.in_flight)


class Pool:
    """Actors made of one ``make_worker`` and one ``shared`` (a reference into the object store).

    ``resources`` are what each takes of its machine beside one CPU.
    """

    def __init__(
        self, make_worker: Callable[[Any], Callable[[Any], Any]], shared: Any, resources: Mapping[str, float]
    ) -> None:
        self.make_worker = make_worker
        self.resources = dict(resources)
        self.actors: list[Actor] = []
        self._shared = shared
        self._starts_lost = 0

    def ready(self, workers: int) -> None:
        """At least so many actors, of which those from before must show that they live."""
        self._starts_lost = 0
        for actor in self.actors:
            if actor.starting is None:
                actor.starting, actor.is_new = actor.handle.still_there.remote(), False
        for _ in range(workers - len(self.actors)):
            self._add()

    def started(self, actor: Actor) -> None:
        """Take an actor's first answer; in the place of one that died comes another.

        Raises:
            WorkerStartError: the worker can not be made, or several died while they were made.
        """
        try:
            error = ray.get(actor.starting)
        except RayActorError as lost:
            self._starts_lost += actor.is_new
            if self._starts_lost >= MOST_ATTEMPTS:
                raise WorkerStartError(f"{self._starts_lost} workers died while they started: {lost}") from lost
            self.replace(actor)
            return
        except RayError as refused:
            raise WorkerStartError(f"no worker could be made: {describe(refused)}") from refused
        if error is not None:
            raise WorkerStartError(f"no worker could be made: {error}")
        self._starts_lost = 0
        actor.starting = None

    def replace(self, actor: Actor) -> None:
        """Put a new actor in the place of a dead one."""
        ray.kill(actor.handle)
        self.actors.remove(actor)
        self._add()

    def stop(self) -> None:
        """End all actors; what they were working on is lost."""
        for actor in self.actors if ray.is_initialized() else ():
            ray.kill(actor.handle)
        self.actors.clear()

    def _add(self) -> None:
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "resources": self.resources}
        handle = ray.remote(_Worker).options(**options).remote()
        self.actors.append(Actor(handle, handle.start.remote(self.make_worker, self._shared)))
