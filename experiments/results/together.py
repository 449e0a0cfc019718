"""Work in threads, some of it at once: where one piece fails or people interrupt, the others are told to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def done_together(pieces: Sequence[Callable[[Event], T]], jobs: int) -> list[T]:
    """What each piece returns; up to ``jobs`` are at work at once, in their order.

    Each is called with an event that is set where it should stop, and this returns when all have ended.

    Raises:
        BaseException: what the first piece raised, or an interrupt; those that had not begun were not.
    """
    stop = Event()
    futures: list[Future[T]] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            futures += (pool.submit(piece, stop) for piece in pieces)
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            stop.set()
            raise
    return [future.result() for future in futures]
