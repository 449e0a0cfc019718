"""Server-sent events of one experiment: how it stands, and every generation once."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import Gauge

from bitfront.experiments.service.refusals import RateLimitError
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.store.base import Store
from bitfront.supernet.errors import BitfrontError

if TYPE_CHECKING:
    from bitfront.experiments.service.context import Service

_BEAT_SECONDS = 15.0
_RETRY_MS = 2000
_THREADS = 8
_ID = re.compile(r"g(\d{1,9})")


def seen_until(last_event_id: str | None) -> int:
    """The newest generation that a reader who comes back has seen; -1 where none, or the id is none of ours."""
    found = _ID.fullmatch((last_event_id or "").strip())
    return int(found[1]) if found else -1


class News:
    """What is new of an experiment since it was last asked. ``seen`` is the newest generation that was told."""

    def __init__(self, store: Store, experiment_id: str, seen: int) -> None:
        self._store, self._id, self.seen = store, experiment_id, seen
        self._told: dict[str, Any] = {}
        self.over = False

    def ask(self) -> list[str]:
        """Events, oldest first: ``status``, ``stage``, ``progress`` where they changed, ``generation``,
        ``end``.
        """
        # Before its generations, so that none that was stored before the end is missed.
        one = self._store.get(self._id)
        progress = one.progress
        state: dict[str, Any] = {
            "status": {"status": one.status.value, "reason": file_names_only(one.reason)},
            "stage": {"stage": one.stage},
            "progress": {"label": progress.label, "done": progress.done, "total": progress.total}
            if progress
            else None,
        }
        events = list(self._generations())
        for name, value in state.items():
            if value is not None and self._told.get(name) != value:
                events.append(self._event(name, value))
        self._told = state
        if one.status.is_over:
            self.over = True
            events.append(self._event("end", {"status": one.status.value}))
        return events

    def _generations(self) -> Iterator[str]:
        for one in self._store.generations(self._id):
            if one.index > self.seen:
                self.seen = one.index
                facts = {"index": one.index, "evaluations": one.evaluations, "hypervolume": one.hypervolume}
                yield self._event("generation", facts)

    def _event(self, name: str, value: Any) -> str:
        number = f"id: g{self.seen}\n" if self.seen >= 0 else ""
        return f"event: {name}\n{number}data: {json.dumps(value, allow_nan=False)}\n\n"


class Streams:
    """Counts streams, so that they can not take all connections; shown by a gauge."""

    def __init__(self, most: int, gauge: Gauge, each: int | None = None) -> None:
        self._most, self._gauge, self._each = most, gauge, most if each is None else each
        self._now, self._open = 0, Counter[str]()
        # Their own threads: streams that wait for the store leave those of requests alone.
        self.threads = CapacityLimiter(_THREADS)

    def check(self, who: str = "") -> None:
        """Refuse one more of somebody.

        Raises:
            RateLimitError: there are as many as may be, of all or of theirs.
        """
        later = {"Retry-After": "10"}
        if self._now >= self._most:
            raise RateLimitError(
                "there are as many streams of events as may be", "come back in 10 s", headers=later
            )
        if self._open[who] >= self._each:
            raise RateLimitError(
                f"you have {self._each} streams of events, as many as one may",
                "close one, or come back in 10 s",
                headers=later,
            )

    @contextmanager
    def counted(self, who: str = "") -> Iterator[None]:
        """While a stream is open; from the event loop alone."""
        self._now += 1
        self._open[who] += 1
        self._gauge.set(self._now)
        try:
            yield
        finally:
            self._now -= 1
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
            self._gauge.set(self._now)


async def stream(service: Service, news: News, who: str = "") -> AsyncIterator[str]:
    """Events as they come, until the experiment or the stream's time is over; comments in between keep it
    alive.
    """
    settings = service.settings
    beat = time.monotonic()
    ends = beat + settings.stream_seconds
    with service.streams.counted(who):
        yield f"retry: {_RETRY_MS}\n\n"
        while True:
            events = await run_sync(_asked, news, limiter=service.streams.threads)
            for event in events:
                yield event
            now = time.monotonic()
            if news.over or now + settings.poll_seconds > ends:
                return
            if events:
                beat = now
            elif now - beat > _BEAT_SECONDS:
                beat = now
                yield ": still here\n\n"
            await anyio.sleep(settings.poll_seconds)


def _asked(news: News) -> list[str]:
    """A deleted experiment, or a store that is away, ends a stream: its reader comes back and is told."""
    try:
        return news.ask()
    except BitfrontError:
        news.over = True
        return []
