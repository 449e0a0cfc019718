"""Work in this very process, one item after the other: nothing to start, nothing to send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

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
from bitfront.search.executors.threads import Threads, one_thread
from bitfront.supernet.errors import UnsupportedError

__all__ = ["LocalExecutor", "one_thread"]


@final
class LocalExecutor(Executor):
    """One worker, which is this process.

    Raises:
        UnsupportedError: several workers or a cluster's address were asked for.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if workers not in (None, 1) or address is not None:
            raise UnsupportedError(
                f"the local executor is one worker in this process, it can not have workers={workers}, "
                f"address={address!r}: choose the executor 'ray', or leave both out"
            )
        self.workers = 1
        self._kept: tuple[object, object, Callable[[Any], Any]] | None = None

    def map(
        self,
        make_worker: Callable[[Shared], Callable[[Item], Result]],
        shared: Shared,
        items: Sequence[Item],
        on_result: Callable[[int, Result | Failure], None] | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> list[Result | Failure]:
        """See `Executor.map`; this machine is taken to have the ``resources``.

        What other processes measure at the same time is not for an executor to know: devices that measure take
        turns on a machine by themselves.
        """
        results: list[Result | Failure] = []
        if not items:
            return results
        worker = self._worker(make_worker, shared)
        threads = Threads()
        for position, item in enumerate(items):
            if self.on_wait is not None:
                self.on_wait()
            with threads.one():
                result = _tried(worker, item)
            results.append(result)
            if on_result is not None:
                on_result(position, result)
        return results

    def _worker(
        self, make_worker: Callable[[Shared], Callable[[Item], Result]], shared: Shared
    ) -> Callable[[Item], Result]:
        """The worker of the call before, if it was made of the very same objects."""
        if self._kept is None or self._kept[0] is not make_worker or self._kept[1] is not shared:
            self._kept = None  # what it holds may be large
            with one_thread():
                self._kept = (make_worker, shared, _made(make_worker, shared))
        worker: Callable[[Item], Result] = self._kept[2]
        return worker

    def dismiss(self) -> None:
        """See `Executor.dismiss`."""
        self._kept = None

    def close(self) -> None:
        """Let go of the worker."""
        self.dismiss()


def _made(make_worker: Callable[[Shared], Callable[[Item], Result]], shared: Shared) -> Callable[[Item], Result]:
    try:
        return make_worker(shared)
    except Exception as error:
        raise WorkerStartError(f"no worker could be made: {describe(error)}") from error


def _tried(worker: Callable[[Item], Result], item: Item) -> Result | Failure:
    last = ""
    for _ in range(MOST_ATTEMPTS):
        try:
            return worker(item)
        except Exception as error:
            last = describe(error)
    return Failure(last, MOST_ATTEMPTS)
