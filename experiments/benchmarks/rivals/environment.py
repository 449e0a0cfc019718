"""Rivals from the package index, each in an environment of its own, so that none is a dependency of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.store.home import home
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.files import write_text

_DONE = "installed.txt"
_SAID = 400
_INSTALLING_SECONDS = 1800.0


class LeftOutError(BitfrontError):
    """A rival can not run here; the message says why."""


def environment(
    name: str, requirements: Sequence[str], may_install: bool, reporter: Reporter, alone: Sequence[str] = ()
) -> Path:
    """The Python of an environment with ``requirements``, which is kept in the home; where it is not: made.

    ``alone``: further requirements, without what these require by themselves.

    Raises:
        LeftOutError: it is not there and may not be made, or pip can not make it.
    """
    folder = home() / "bench" / "rivals" / name
    python, wanted = folder / "bin" / "python", "\n".join([*requirements, *alone]) + "\n"
    done = folder / _DONE
    if done.is_file() and done.read_text() == wanted:
        return python
    if not may_install:
        raise LeftOutError(f"{name} is not installed in {folder}, where the full benchmark installs it")
    shutil.rmtree(folder, ignore_errors=True)
    reporter.say(f"installing {', '.join([*requirements, *alone])} in {folder}")
    run_apart([sys.executable, "-m", "venv", str(folder)], name)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run_apart([*pip, *requirements], name)
    if alone:
        run_apart([*pip, "--no-deps", *alone], name)
    write_text(done, wanted)  # last, so that what was interrupted is made anew
    return python


def version_in(python: Path, package: str) -> str:
    """The version of a package of an environment.

    Raises:
        LeftOutError: it is not there.
    """
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return run_apart([str(python), "-I", "-c", code, package], package).strip()


def run_apart(command: Sequence[str], name: str, most_seconds: float = _INSTALLING_SECONDS) -> str:
    """What a command of a rival says, in an environment that knows nothing of this process's packages.

    Raises:
        LeftOutError: it fails, or is not done in time; the message ends with what it said last.
    """
    try:
        done = subprocess.run(
            command, env=clean(), capture_output=True, text=True, check=False, timeout=most_seconds
        )
    except OSError as error:
        raise LeftOutError(f"{name} can not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise LeftOutError(f"{name} did not end in {error.timeout:g} s ({' '.join(command[:4])} ...)") from error
    if done.returncode:
        raise LeftOutError(f"{name} failed ({' '.join(command[:4])} ...): {done.stderr.strip()[-_SAID:]}")
    return done.stdout


def clean() -> dict[str, str]:
    """The environment of this process without what leads Python to its packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
