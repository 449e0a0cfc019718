"""Where published data sets are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bitfront.supernet.data.dataset import DataError


def data_folders() -> list[Path]:
    """``BITFRONT_DATA``; beside a checkout, ``shared/data``; ``bitfront`` in the user's data folder."""
    folders = [Path(own)] if (own := os.environ.get("BITFRONT_DATA")) else []
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        folders.append(checkout.parent / "shared" / "data")
    usual = os.environ.get("XDG_DATA_HOME")
    return [*folders, (Path(usual) if usual else Path.home() / ".local" / "share") / "bitfront"]


def found(name: str, candidates: Iterable[Path], fix: str) -> Path:
    """The first candidate that is there.

    Raises:
        DataError: none is; the message lists them and says ``fix``.
    """
    places = list(candidates)
    for place in places:
        if place.exists():
            return place
    raise DataError(f"{name} is not in {', '.join(map(str, places))}: {fix}")
