"""Compile the three files and run what comes out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError

HEADER, NETWORK, MAIN = "network.h", "network.c", "main.c"
FLAGS = ("-std=c99", "-O3")
_COMPILERS = ("cc", "gcc", "clang")
_TOLD_OF_A_FAILURE = 2000


def compiler() -> str:
    """The path of a C compiler.

    Raises:
        UnsupportedError: there is none.
    """
    found = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if found is None:
        raise UnsupportedError(
            f"running a network in C takes a C compiler, and none of {', '.join(_COMPILERS)} is on the PATH: "
            "install one (Debian: apt-get install gcc libc6-dev)"
        )
    return found


def built(
    sources: Mapping[str, bytes], folder: Path, flags: Sequence[str] = FLAGS, using: str | None = None
) -> Path:
    """The command that the three files (contents by name) make, in a folder that is there.

    ``using``: the compiler, `compiler` by default.

    Raises:
        UnsupportedError: there is no compiler, it refuses the files, or the folder can not be written.
    """
    command = folder / "network"
    asked = [using or compiler(), *flags, "-o", str(command), str(folder / NETWORK), str(folder / MAIN)]
    with _told():
        for name, content in sources.items():
            (folder / name).write_bytes(content)
        done = subprocess.run(asked, capture_output=True, check=False)
    if done.returncode:
        raise UnsupportedError(
            f"{' '.join(asked)} failed: {_why(done)}. Choose a compiler that knows C99, and see that "
            f"{folder} has room"
        )
    return command


def run_c(command: Path, codes: NDArray[np.generic], classes: int) -> NDArray[np.int32]:
    """Codes of the logits (n, classes) of image codes (n, channels, size, size); see `codes.image_codes`.

    Raises:
        UnsupportedError: the command fails; what it said is told.
    """
    with _told():
        done = subprocess.run(
            [str(command)], input=np.ascontiguousarray(codes).tobytes(), capture_output=True, check=False
        )
    if done.returncode:
        raise UnsupportedError(f"{command} failed: {_why(done)}")
    return np.frombuffer(done.stdout, np.int32).reshape(-1, classes)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnsupportedError(
            f"a network in C can not be compiled and run in temporary files here ({error}): "
            "set TMPDIR to a folder with room whose files may be run"
        ) from error


def _why(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode(errors="replace")[:_TOLD_OF_A_FAILURE].strip()
    return said or (f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}")
