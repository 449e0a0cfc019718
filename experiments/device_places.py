"""Where the tables of devices are; light, so that listing them loads nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfront.supernet.errors import UnsupportedError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGITS = 12
_PARTIAL = ".partial"


def is_device_name(text: str) -> bool:
    """Whether a text can name an imported device, and its file."""
    return _NAME.fullmatch(text) is not None and not text.endswith(_PARTIAL)


def imported_path(home: Path, name: str) -> Path:
    """Where the table of an imported device is."""
    return home / "devices" / f"{name}.json"


def imported_names(home: Path) -> list[str]:
    """The devices that were imported into a home, sorted."""
    return sorted(path.stem for path in (home / "devices").glob("*.json") if is_device_name(path.stem))


def table_path(home: Path, device: str, options: Mapping[str, Any], space_hash: str) -> Path:
    """Where every experiment keeps and finds the table of a device with these options for a space.

    ``options`` are those that differ from the device's defaults.

    Raises:
        UnsupportedError: ``device``, which may stand in somebody's file, is no name.
    """
    if not is_device_name(device):
        raise UnsupportedError(
            f"a device can not be called {device!r}: use letters, digits, '-', '_' and '.', and begin with a "
            "letter or digit"
        )
    described = json.dumps([dict(options), space_hash], sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()[:_DIGITS]
    return home / "tables" / f"{device}-{digest}.json"


def table_paths(home: Path, device: str) -> list[Path]:
    """All tables of a device, whatever the options and the space, those not yet finished included."""
    form = re.compile(rf"{re.escape(device)}-[0-9a-f]{{{_DIGITS}}}({re.escape(_PARTIAL)})?\.json")
    return sorted(path for path in (home / "tables").glob(f"{device}-*.json") if form.fullmatch(path.name))


def is_unfinished(path: Path) -> bool:
    """Whether a table of `table_paths` is still being measured, or was interrupted."""
    return path.stem.endswith(_PARTIAL)
