"""Data goes to stdout, words go to stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 120


def out() -> Console:
    """For data that people read; programs get `put_json` or CSV."""
    return _console(stderr=False)


def err() -> Console:
    """For words and progress."""
    return _console(stderr=True)


def put_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout, and nothing else; NaN and infinity are refused (``ValueError``)."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _console(stderr: bool) -> Console:
    # Without a terminal rich assumes 80 columns, which would break tables in files and pipes.
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False, emoji=False)
