"""The files of a bundle that have a meaning, and what names files may have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
CARD = "model_card.md"
EXAMPLE = "example.py"
SAMPLES: Final = "samples.npz"
NETWORK: Final = "network.safetensors"

MOST_SAMPLES = 1000
"""How many test images may go along at most."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,3}}")
_MOST_LETTERS = 200


def is_file_name(name: str) -> bool:
    """Whether a file of a bundle may be called so: relative, with ``/`` between at most 4 parts.

    No part begins with a dot, so that none leads out of the folder.
    """
    return len(name) <= _MOST_LETTERS and _NAME.fullmatch(name) is not None


def sums_text(digests: Iterable[tuple[str, str]]) -> str:
    """(name, SHA-256 in hex) as ``sha256sum -c`` reads it, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests))


def read_sums(text: str) -> dict[str, str]:
    """Name to SHA-256 in hex of what `sums_text` wrote.

    Raises:
        ValueError: a line is none, a name can not be, or one comes twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None or not is_file_name(name) or name == SUMS:
            raise ValueError(f"line {number} is no sum and name of a file")
        if name in found:
            raise ValueError(f"{name} comes twice")
        found[name] = digest
    return found
