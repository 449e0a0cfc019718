"""How fast work goes, in words."""

from __future__ import annotations


class Pace:
    """Throughput and time left of one piece of work.

    It counts from the first time that the work is heard of: what an earlier run did, and what it took to begin,
    say nothing about the speed.
    """

    def __init__(self, done: int, now: float) -> None:
        self._first = self._done = done
        self._begun = self._last = now

    def heard(self, done: int, now: float) -> None:
        """At ``now`` seconds, ``done`` items are done."""
        self._done, self._last = done, now

    def throughput(self) -> str:
        """Such as ``12.3/s``, or ``4.2 s each`` for what takes long; empty where nothing can be said yet."""
        rate = self._per_second
        if rate <= 0:
            return ""
        return f"{duration(1 / rate)} each" if rate < 1 else f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"

    def left(self, total: int, now: float) -> str:
        """Such as ``23 s left``; empty where nothing can be said yet."""
        rate = self._per_second
        if rate <= 0:
            return ""
        since = now - self._last  # the item that is worked on is partly done
        return f"{duration(max(0.0, (total - self._done) / rate - since))} left"

    @property
    def _per_second(self) -> float:
        seconds = self._last - self._begun
        return (self._done - self._first) / seconds if seconds > 0 else 0.0


def duration(seconds: float) -> str:
    """Such as ``4.2 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
