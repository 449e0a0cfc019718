"""What an executor is: it maps coarse work over workers, retries what fails, and loses nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from bitfront.supernet.errors import BitfrontError

MOST_ATTEMPTS = 3
"""An item that fails so many times is given up."""

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerStartError(BitfrontError):
    """A worker could not be made, so that no item can be worked on."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What stands in place of a result: the item failed each of ``attempts`` times; ``error`` is from the last."""

    error: str
    attempts: int


class Executor(ABC):
    """Maps items to results on one or more workers. Use it as a context manager, or `close` it.

    ``workers`` is how many work at once, 1 unless an executor says otherwise; of one with several it may be set
    lower between calls of `map`, and back.

    ``on_wait``, where it is set, is called in this process while `map` is at work, to show that it lives: before
    each item where this process is the worker itself, else every other second or more often. What it raises ends
    the call.
    """

    workers: int = 1
    on_wait: Callable[[], None] | None = None

    @abstractmethod
    def map(
        self,
        make_worker: Callable[[Shared], Callable[[Item], Result]],
        shared: Shared,
        items: Sequence[Item],
        on_result: Callable[[int, Result | Failure], None] | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> list[Result | Failure]:
        """Work on every item, and return the results in the order of the items.

        Args:
            make_worker: called once per worker with ``shared``; what it returns is called with one item at a
                time, with torch and NumPy set to one thread. It must be a function of an importable module.
            shared: what all workers need, such as a supernet's weights; sent to each worker's machine once.
                Workers may not change it (arrays may be read-only).
            items: small values, each worth at least some milliseconds of work.
            on_result: called in this process with (position, result) as soon as a result comes, in any order;
                what it raises ends the whole call.
            resources: what each worker needs of its machine beside a processor, such as
                ``{device_resource("host-onnxruntime"): 1}`` to measure latency on it; see `device_resource`.

        Workers take seconds to make, so they stay: the next call with the very same ``make_worker`` and
        ``shared``, and equal ``resources``, finds them again, one with others dismisses them. Until then each
        holds its memory, and a CPU of a cluster.

        An item that raises or whose worker dies is tried again, elsewhere if there is an elsewhere; after
        `MOST_ATTEMPTS` attempts a `Failure` stands in its place and the rest goes on.

        Raises:
            WorkerStartError: ``make_worker`` raised, its process died again and again, no machine has the
                ``resources``, or an amount of them makes no sense; 0 is as if it were not asked for.
        """

    @abstractmethod
    def dismiss(self) -> None:
        """Give back the workers that stayed; the executor can be used further."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this executor started; it may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def device_resource(device: str) -> str:
    """What a machine has one of where the device of this name can be measured.

    Machines join a Ray cluster with it: ``ray start --resources='{"device:NAME": 1}'``; a worker that measures
    takes all of it, so that two never measure on one machine.
    """
    return f"device:{device}"


def describe(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
