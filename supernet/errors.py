"""The errors that bitfront raises on purpose: each names the value, the rule and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_NAMES = 12


class BitfrontError(Exception):
    """Base of every error that a user can cause and mend."""


class InvalidGenomeError(BitfrontError):
    """A genome lies outside its search space."""


class InvalidSpaceError(BitfrontError):
    """A search space makes no sense, or can not be read: ``source`` says which, ``problems`` why, one each."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        super().__init__(source, tuple(problems))

    def __str__(self) -> str:
        source, problems = self.args
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return "\n  ".join([f"{source} has {count}", *problems])


class UnknownNameError(BitfrontError):
    """A registry was asked for a name that it does not hold."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        # The base keeps all three arguments, so that the error survives the way back from another process.
        super().__init__(kind, name, tuple(sorted(known)))

    def __str__(self) -> str:
        kind, name, known = self.args
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
        return f"unknown {kind} {name!r}: {hint}Known are: {', '.join(known[:_MOST_NAMES]) or 'none'}{more}"


class CorruptFileError(BitfrontError):
    """A file that bitfront wrote can not be read back as what it was."""


class MissingFileError(BitfrontError):
    """A file that is needed is not there."""


class StorageError(BitfrontError):
    """A file could not be written (disk full, read-only folder)."""


class UnsupportedError(BitfrontError):
    """A device or a target can not execute what was asked of it."""


class NumericalError(BitfrontError):
    """A loss, an accuracy or a cost came out as NaN or infinite."""


class MeasuringError(BitfrontError):
    """A device failed while it was measured."""


class TrainingSettingsError(BitfrontError):
    """A setting of a training is out of its range."""


class RecipeError(BitfrontError):
    """A recipe of a training is not what it must be."""
