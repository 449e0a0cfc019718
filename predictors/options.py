"""Options of predictors: from plain mappings, such as a spec's, to checked values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from bitfront.supernet.errors import BitfrontError, UnknownNameError

OptionValue = float | int | str | bool | None
T = TypeVar("T")


class InvalidOptionError(BitfrontError):
    """An option of a predictor has a value that makes no sense."""


def read_options(kind: type[T], given: Mapping[str, OptionValue], what: str) -> T:
    """``given`` as a ``kind``, a dataclass whose fields all have defaults that show their types.

    Raises:
        UnknownNameError: a name is no field.
        InvalidOptionError: a value has another type than the default, or the dataclass refuses it.
    """
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in defaults:
            raise UnknownNameError(what, name, defaults)
        values[name] = _typed(name, value, defaults[name], what)
    return kind(**values)


def require(holds: bool, name: str, value: OptionValue, rule: str) -> None:
    """Refuse a value that breaks its rule.

    Raises:
        InvalidOptionError: it does.
    """
    if not holds:
        raise InvalidOptionError(f"{name} is {value!r}: it must be {rule}")


def _typed(name: str, value: OptionValue, default: Any, what: str) -> OptionValue:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default) and value is not default:
        raise InvalidOptionError(
            f"{what}: {name} is {value!r}, but must be of the kind of its default, {default!r}"
        )
    return value
