"""One folder put in the place of another without a moment in which there is none."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

_HERE = -100
_EXCHANGE = 2
ASIDE = ".old"
"""How the name of what is for a moment put aside ends."""


def put_in_place(new: Path, place: Path) -> None:
    """Move the folder ``new`` to ``place``; what was there is then at ``new``, or is removed.

    Both are in one folder. Linux exchanges them at once; elsewhere, and on file systems that can not, there is a
    moment in which nothing is at ``place``.

    Raises:
        OSError: it could not be moved; ``place`` is as it was.
    """
    if not place.exists() or not any(place.iterdir()):
        new.rename(place)
    elif not _exchanged(new, place):
        _exchange_in_steps(new, place)


def _exchanged(new: Path, place: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(new), _HERE, os.fsencode(place), _EXCHANGE) == 0


def _exchange_in_steps(new: Path, place: Path) -> None:
    aside = new.with_name(f"{new.name}{ASIDE}")
    place.rename(aside)
    try:
        new.rename(place)
    except OSError:
        aside.rename(place)
        raise
    shutil.rmtree(aside, ignore_errors=True)  # another export may be at that already
