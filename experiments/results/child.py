"""A program in a process of its own: whatever ends it, this one goes on and knows how it went."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import IO

Say = Callable[[str], None]

_PATIENCE_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program went: its exit code (negative for a signal), what it took, and what it wrote on stderr."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    words: str


def run_child(
    command: Sequence[str], log: Path, say: Say, variables: Mapping[str, str] = MappingProxyType({})
) -> Ran:
    """Run a program to its end; stderr goes line by line to ``log`` and ``say``, stdout nowhere.

    ``variables`` are added to this process's environment. It leads a session of its own, which is ended with it.
    Where this process is interrupted, so is the program. Where this one is killed, so is the program under Linux;
    elsewhere it ends with the next line that it writes.

    Raises:
        KeyboardInterrupt: this process was interrupted, and the program has ended.
        OSError: the program can not be started, or the log not be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    start = time.monotonic()
    process = _started(command, variables)
    listener = Thread(target=_listen, args=(process.stderr, log, say), daemon=True)
    listener.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        _interrupt(process)
        raise
    finally:
        _signal(process, signal.SIGKILL)  # what it left running would hold its stderr open
        listener.join(_PATIENCE_SECONDS)
    return Ran(
        process.returncode,
        time.monotonic() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * _UNIT_OF_MEMORY,
        log.read_text(errors="replace"),
    )


def _started(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    parent = os.getpid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, **variables},
        preexec_fn=None if _LIBC is None else lambda: _end_with(parent),
    )


def _end_with(parent: int) -> None:
    """Called in the program's process before it begins: whoever kills its parent kills it too."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # killed meanwhile
        os._exit(1)


def _listen(stream: IO[str], log: Path, say: Say) -> None:
    with log.open("a") as file:
        for line in stream:
            file.write(line)
            file.flush()
            say(line.rstrip("\n"))


def _interrupt(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does, and at last as nobody can refuse."""
    _signal(process, signal.SIGINT)
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
