"""A program in a process of its own: whatever ends it, this one goes on and knows how it went."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType
from typing import IO

Say = Callable[[str], None]

_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_GUARDED = """
import os, signal, sys
if os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.read(0, 1)  # nothing is ever written: it ends with whoever holds the other end
    os.killpg(os.getpgrp(), signal.SIGKILL)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"error: {sys.argv[1]} can not be started: {error}")
"""
"""Becomes a program, beside a guard that ends its group of processes when this process is gone."""
_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program went: its exit code (negative for a signal), what it took, and what it wrote on stderr."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    words: str


class StoppedError(Exception):
    """A program was interrupted, as whoever started it was."""


def run_child(
    command: Sequence[str],
    log: Path,
    say: Say,
    variables: Mapping[str, str] = MappingProxyType({}),
    stop: Event | None = None,
) -> Ran:
    """Run a program to its end; stderr goes line by line to ``log`` and ``say``, stdout nowhere.

    ``variables`` are added to this process's environment. The program leads a group of its own, and what is left
    of that ends with it. One that can not be started ends with 1, and says why. It is interrupted where ``stop``
    is set; where this process is killed, so are the program and all of its group.

    Raises:
        StoppedError: ``stop`` was set, and the program has ended.
        OSError: the log can not be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    start = time.monotonic()
    process = _started(command, variables)
    listener = Thread(target=_listen, args=(process.stderr, log, say), daemon=True)
    listener.start()
    try:
        usage = _ended(process, stop or Event())
    finally:
        _signal(process, signal.SIGKILL)  # what it left running would hold its stderr open
        listener.join(_PATIENCE_SECONDS)
        assert process.stdin is not None
        process.stdin.close()
    return Ran(
        process.returncode,
        time.monotonic() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * _UNIT_OF_MEMORY,
        log.read_text(errors="replace"),
    )


def _started(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARDED, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, **variables},
    )


def _ended(process: subprocess.Popen[str], stop: Event) -> resource.struct_rusage:
    """What it used, once it has ended."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if stop.wait(_LOOK_SECONDS):
            _interrupt(process)
            raise StoppedError


def _listen(stream: IO[str], log: Path, say: Say) -> None:
    with log.open("a") as file:
        for line in stream:
            file.write(line)
            file.flush()
            with suppress(OSError):  # nobody listens any longer; the program must not wait for that
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
