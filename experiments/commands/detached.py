"""A process of its own that works on an experiment and outlives the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bitfront.experiments.places import log_path
from bitfront.supernet.errors import StorageError

WORK = "_work"
"""The hidden command that such a process runs."""
NEXT = "_next"
"""The hidden command that a worker's child runs."""


def start_detached(home: Path, experiment_id: str) -> int:
    """Start the process, with the experiment's log as its stdout and stderr; returns its id.

    Raises:
        StorageError: the log can not be written.
    """
    path = log_path(home, experiment_id)
    command = [sys.executable, "-m", "bitfront.experiments.cli", WORK, experiment_id]
    environment = {**os.environ, "BITFRONT_HOME": str(home)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("ab")
    except OSError as error:
        raise StorageError(
            f"can not write the log {path}: {error.strerror}. Free space, then 'bitfront resume {experiment_id}'"
        ) from error
    with log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return process.pid
