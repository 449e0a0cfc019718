"""Work in this very process, one item after the other: nothing to start, nothing to send."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
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
from bitfront.supernet.errors import UnsupportedError


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
        self._stayed: tuple[Any, Any, Any] | None = None

    def map(
        self,
        make_worker: Callable[[Shared], Callable[[Item], Result]],
        shared: Shared,
        items: Sequence[Item],
        on_result: Callable[[int, Result | Failure], None] | None = None,
    ) -> list[Result | Failure]:
        """See `Executor.map`."""
        results: list[Result | Failure] = []
        if not items:
            return results
        worker = self._worker(make_worker, shared)
        for position, item in enumerate(items):
            with one_thread():
                result = _tried(worker, item)
            results.append(result)
            if on_result is not None:
                on_result(position, result)
        return results

    def _worker(
        self, make_worker: Callable[[Shared], Callable[[Item], Result]], shared: Shared
    ) -> Callable[[Item], Result]:
        if self._stayed is not None and self._stayed[0] is make_worker and self._stayed[1] is shared:
            stayed: Callable[[Item], Result] = self._stayed[2]
            return stayed
        self.dismiss()  # two workers need twice the memory
        with one_thread():
            worker = _made(make_worker, shared)
        self._stayed = (make_worker, shared, worker)
        return worker

    def dismiss(self) -> None:
        """See `Executor.dismiss`."""
        self._stayed = None

    def close(self) -> None:
        """Nothing was started but what may have stayed."""
        self.dismiss()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and the linear algebra of NumPy with one thread inside, and with what they had before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


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
