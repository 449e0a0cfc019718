"""How fast work goes, in words."""

from __future__ import annotations


class Pace:
    """Throughput of one piece of work.

    It counts from the first time that the work is heard of, at ``now`` seconds with ``done`` items: what an
    earlier run did, and what it took to begin, say nothing about the speed.
    """

    def __init__(self, done: int, now: float) -> None:
        self._first = done
        self._begun = now

    def throughput(self, done: int, now: float) -> str:
        """Such as ``12.3/s``, or ``4.2 s each`` for what takes long; empty where nothing can be said yet."""
        rate = self._per_second(done, now)
        if rate <= 0:
            return ""
        return f"{duration(1 / rate)} each" if rate < 1 else f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"

    def left(self, done: int, total: int, now: float) -> str:
        """Such as ``23 s left``; empty where nothing can be said yet."""
        rate = self._per_second(done, now)
        return f"{duration((total - done) / rate)} left" if rate > 0 else ""

    def _per_second(self, done: int, now: float) -> float:
        return (done - self._first) / (now - self._begun) if now > self._begun else 0.0


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
