"""What verifying a bundle found: one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bitfront.supernet.errors import BitfrontError, UnsupportedError

State = Literal["holds", "fails", "not possible"]
_MOST_NAMED = 5
_UNSOUND = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)


@dataclass(frozen=True, slots=True)
class Check:
    """``name`` says what was looked at, ``detail`` what was seen, or why that is not possible here."""

    name: str
    state: State
    detail: str


def checked(name: str, look: Callable[[], str]) -> Check:
    """Make a check of what ``look`` says or raises.

    What it can not do here is UnsupportedError, or OSError where the system refuses; any other error that comes of
    what was read means that the bundle is not what it should be.
    """
    try:
        return Check(name, "holds", look())
    except UnsupportedError as error:
        return Check(name, "not possible", str(error))
    except OSError as error:
        return Check(name, "not possible", f"this machine refuses ({type(error).__name__}: {error})")
    except (BitfrontError, ValueError) as error:
        return Check(name, "fails", str(error))
    except _UNSOUND as error:
        return Check(name, "fails", f"nothing can be made of it ({type(error).__name__}: {error})")


def refuse(problems: Iterable[str]) -> None:
    """Raise ValueError with the first few of the problems, if there are any."""
    found = list(problems)
    if found:
        more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise ValueError("; ".join(found[:_MOST_NAMED]) + more)
