"""One call of a Ray executor's `map`: who works on what, what waits, what failed how often."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

import ray
from ray.exceptions import RayActorError, RayError

from bitfront.search.executors.base import MOST_ATTEMPTS, Failure, Item, Result, describe
from bitfront.search.executors.ray_capacity import Patience
from bitfront.search.executors.ray_pool import Actor, Pool

_LOOK_EVERY_S = 2.0
_IN_FLIGHT = 2  # one item being worked on and one waiting there, so that no actor idles between two


class Dispatch(Generic[Item, Result]):
    """Hands ``items`` to actors of a pool, at most ``most`` at once; ``on_wait``: see `Executor`."""

    def __init__(
        self, pool: Pool, items: Sequence[Item], patience: Patience, most: int, on_wait: Callable[[], None] | None
    ) -> None:
        self._pool = pool
        self._patience = patience
        self._most = most
        self._on_wait = on_wait
        self._items = items
        self._waiting = deque(range(len(items)))
        self._attempts = [0] * len(items)
        self._failed_on: dict[int, Actor] = {}

    def results(self) -> Iterator[tuple[int, Result | Failure]]:
        """(position, result) as they come, until every item has one.

        Raises:
            WorkerStartError: see `Pool.started` and `Patience.check`.
        """
        left = len(self._items)
        while left:
            if self._on_wait is not None:  # what has come is handed out already, if this ends the call
                self._on_wait()
            self._send()
            replies = {actor.next_reply: actor for actor in self._pool.actors if actor.expects_reply}
            ready, _ = ray.wait(list(replies), num_returns=1, timeout=_LOOK_EVERY_S)
            if not ready:
                self._lose_patience()
                continue
            actor = replies[ready[0]]
            if actor.starting is not None:
                self._pool.started(actor)
            elif (settled := self._settled(actor)) is not None:
                left -= 1
                yield settled

    def _lose_patience(self) -> None:
        """While no actor is there to work: a machine for one may come, or not."""
        if all(actor.starting is not None for actor in self._pool.actors):
            self._patience.check()
        else:
            self._patience.renew()

    def _send(self) -> None:
        # Round by round, so that the last items are spread over all actors.
        for depth in range(_IN_FLIGHT):
            for actor in self._working():
                if len(actor.in_flight) == depth:
                    position = self._next_for(actor)
                    if position is not None:
                        actor.in_flight.append((position, actor.handle.work.remote(self._items[position])))

    def _working(self) -> list[Actor]:
        """Actors that are there, as many as may work; those that do come first."""
        there = [actor for actor in self._pool.actors if actor.starting is None]
        return sorted(there, key=lambda actor: not actor.in_flight)[: self._most]

    def _next_for(self, actor: Actor) -> int | None:
        """The first waiting item that did not just fail on this actor, unless there is no other actor to try."""
        alone = not any(other is not actor for other in self._working())
        for position in self._waiting:
            if alone or self._failed_on.get(position) is not actor:
                self._waiting.remove(position)
                return position
        return None

    def _settled(self, actor: Actor) -> tuple[int, Result | Failure] | None:
        position, reply = actor.in_flight.popleft()
        try:
            result, error = ray.get(reply)
        except RayActorError as lost:
            self._replace(actor)
            return self._failed(position, actor, f"its worker died: {describe(lost)}")
        except RayError as lost:
            return self._failed(position, actor, describe(lost))
        return (position, result) if error is None else self._failed(position, actor, error)

    def _failed(self, position: int, actor: Actor, error: str) -> tuple[int, Failure] | None:
        self._attempts[position] += 1
        if self._attempts[position] >= MOST_ATTEMPTS:
            return position, Failure(error, self._attempts[position])
        self._failed_on[position] = actor
        self._waiting.append(position)
        return None

    def _replace(self, actor: Actor) -> None:
        """Put a new actor in the place of a dead one; what merely waited there goes back to the queue's head."""
        self._waiting.extendleft(position for position, _ in reversed(actor.in_flight))
        actor.in_flight.clear()
        self._pool.replace(actor)
