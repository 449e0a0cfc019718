"""How processes end, in words."""

from __future__ import annotations

import signal


def ending(code: int) -> str:
    """Of an exit code as `subprocess` tells it: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
