"""How much one may ask: token buckets, and bodies that end where they must."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from bitfront.experiments.service.refusals import RateLimitError, TooLargeError

_MOST_KEYS = 10_000


class RateLimiter:
    """Token buckets, one a key: ``rate`` requests a second on average, ``burst`` at once.

    Args:
        rate: above 0.
        burst: at least 1.
        clock: seconds that only go forward.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, max(burst, 1.0), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count a request of ``key``.

        Raises:
            RateLimitError: there were too many; it says after how many seconds to come back.
        """
        with self._lock:
            left = self._left(key)
            if left >= 1:
                self._keep(key, left - 1)
                return
        wait = math.ceil((1 - left) / self._rate)
        raise RateLimitError(
            "too many requests", f"come back in {wait} s", "request", headers={"Retry-After": str(wait)}
        )

    def _left(self, key: str) -> float:
        left, then = self._buckets.get(key, (self._burst, self._clock()))
        return min(self._burst, left + (self._clock() - then) * self._rate)

    def _keep(self, key: str, left: float) -> None:
        self._buckets[key] = (left, self._clock())
        self._buckets.move_to_end(key)
        while len(self._buckets) > _MOST_KEYS:  # the longest unused are full again anyway
            self._buckets.popitem(last=False)


def limited(receive: Receive, most: int) -> Receive:
    """A body's reader that refuses to go on after ``most`` bytes, whatever the headers said."""
    taken = 0

    async def read() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise too_large(most)
        return message

    return read


def too_large(most: int) -> TooLargeError:
    """The refusal of a body of more than ``most`` bytes."""
    return TooLargeError(f"the body is larger than {most:,} bytes", "send less", "body")
