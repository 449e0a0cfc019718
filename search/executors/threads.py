"""One thread for torch and for the linear algebra behind NumPy: on shared cores two are slower than one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController


class Threads:
    """The thread pools of the libraries that are loaded when it is made; looking for them takes milliseconds."""

    def __init__(self) -> None:
        self._pools = ThreadpoolController()

    @contextmanager
    def one(self) -> Iterator[None]:
        """One thread in each of them inside, and what they had before outside."""
        before = torch.get_num_threads()
        with self._pools.limit(limits=1):
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch, BLAS and OpenMP with one thread inside, and with what they had before outside."""
    with Threads().one():
        yield


def one_thread_for_good() -> None:
    """The same for the rest of this process; libraries that are loaded later are not touched."""
    torch.set_num_threads(1)
    # Nothing is put back as long as nobody calls `restore_original_limits`.
    ThreadpoolController().limit(limits=1)
