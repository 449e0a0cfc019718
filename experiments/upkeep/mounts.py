"""What is mounted where."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux tells it, a mount a line, its place in the fifth field (proc_pid_mountinfo(5))."""


def mounts_inside(folder: Path) -> list[Path]:
    """Where something is mounted below a folder, itself left out; nowhere, if the system does not tell."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    places = {Path(os.fsdecode(_plain(line.split(b" ")[4]))) for line in lines}
    return sorted(place for place in places if folder.resolve() in place.parents)


def _plain(field: bytes) -> bytes:
    """Blanks and backslashes are written as octal numbers."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
