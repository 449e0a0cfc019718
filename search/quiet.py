"""Silence for libraries that print to the process's standard output, where a command's data belongs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDOUT = 1


@contextmanager
def stdout_closed() -> Iterator[None]:
    """Inside, what C code of this process prints to standard output is lost; Python's own is flushed before.

    HiGHS prints there even when it is told not to (a line for each solution that it repairs).
    """
    sys.stdout.flush()
    try:
        before = os.dup(_STDOUT)
    except OSError:  # there is none
        yield
        return
    c_library = ctypes.CDLL(None)
    c_library.fflush(None)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), _STDOUT)
        try:
            yield
        finally:
            c_library.fflush(None)
            os.dup2(before, _STDOUT)
            os.close(before)
