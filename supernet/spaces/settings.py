"""Which space is meant: a name with options, or a document of a user's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bitfront.supernet.errors import InvalidSpaceError, UnknownNameError
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.documents import ENDS as ENDS
from bitfront.supernet.spaces.documents import space_from

Option = bool | int | float | str


@dataclass(frozen=True)
class SpaceSettings:
    """A space by name. ``options`` are its function's; ``content`` is the document of one that has no function."""

    name: str
    options: Mapping[str, Option] = field(default_factory=dict)
    content: Mapping[str, Any] | None = None


def load_space(source: str | SpaceSettings) -> SearchSpace:
    """The space that is meant: the one way from a name to a space, in the driver and in workers.

    Raises:
        UnknownNameError: there is no space of this name, or it has no such option.
        InvalidSpaceError: an option's value or a document does not make sense.
    """
    settings = SpaceSettings(source) if isinstance(source, str) else source
    unknown = [option for option in settings.options if option not in space_options(settings)]
    if unknown:
        raise UnknownNameError(f"option of space {settings.name!r}", unknown[0], space_options(settings))
    if settings.content is not None:
        return space_from({**settings.content, **settings.options}, settings.name)
    return _built(settings)


def space_options(settings: SpaceSettings) -> dict[str, Option]:
    """The options that a space takes, with what they are where they are not given.

    Raises:
        UnknownNameError: there is no space of this name.
    """
    if settings.content is not None:
        return {name: settings.content.get(name, default) for name, default in ENDS.items()}
    parameters = inspect.signature(SPACES.get(settings.name)).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def _built(settings: SpaceSettings) -> SearchSpace:
    defaults = space_options(settings)
    problems = [
        f"options.{name} = {value!r}: {rule}"
        for name, value in settings.options.items()
        if (rule := _option_rule(value, defaults[name]))
    ]
    if problems:
        raise InvalidSpaceError(f"space {settings.name!r}", problems)
    return SPACES.get(settings.name)(**settings.options)


def _option_rule(value: Option, default: Option) -> str | None:
    """What is wrong with an option's value: numbers of spaces are greater than 0."""
    numbers = (int, float) if isinstance(default, float) else (int,)
    if isinstance(default, bool) or not isinstance(default, int | float):
        kind = type(default)
        return None if isinstance(value, kind) else f"must be a {kind.__name__}, as {default!r} is: write one"
    if isinstance(value, bool) or not isinstance(value, numbers):
        whole = "" if isinstance(default, float) else "whole "
        return f"must be a {whole}number, as {default!r} is: write it without quotes"
    return None if 0 < value < float("inf") else "must be greater than 0: give a positive number"
