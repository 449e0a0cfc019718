"""What leaves the machine without its folders: the one place where paths become names of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_ABSOLUTE = re.compile(r"""(?<![\w.:/~-])~?/(?!api/v1/)(?:[^\s/'"`,;:()<>]+/+)*([^\s/'"`,;:()<>]*)""")
"""A path from the root, or from somebody's folder; neither part of an address nor of a fraction."""

_NAMES_A_FILE = ("file", "path")


def file_names_only(text: str) -> str:
    """A text in which paths are shortened to the names of their files; addresses of the service stay."""
    return _ABSOLUTE.sub(lambda found: found[1] or "a folder", text)


def without_folders(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of which those that name a file, at any depth, keep its name alone."""
    return {name: _without(name, value) for name, value in values.items()}


def _without(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_folders(value)
    if isinstance(value, list | tuple):
        return [_without(name, one) for one in value]
    if isinstance(value, str) and (name in _NAMES_A_FILE or value.startswith(("/", "~"))):
        return PurePosixPath(value).name
    return value
