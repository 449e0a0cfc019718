"""What is wrong with a spec, in words: each problem with its path, value, rule and fix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

from bitfront.supernet.errors import BitfrontError

_LONGEST_VALUE = 60
_MOST_NAMES = 16
BROKEN_RULE = "broken_rule"
"""Type of the errors that validators raise by `broken`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (``search.population``), the value as text, the rule and the fix."""

    path: str
    value: str | None
    rule: str
    fix: str

    def __str__(self) -> str:
        place = self.path if self.value is None else f"{self.path} = {self.value}"
        return f"{place}: {self.rule}: {self.fix}"


class SpecError(BitfrontError):
    """A spec that can not be accepted, with every ``problem`` that was found in it."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n  ".join([f"{source} has {count}", *map(str, problems)]))


def broken(rule: str, fix: str) -> PydanticCustomError:
    """The error with which a validator says what is wrong and what helps."""
    return PydanticCustomError(BROKEN_RULE, "{rule}: {fix}", {"rule": rule, "fix": fix})


def broken_by(error: BitfrontError) -> PydanticCustomError:
    """`broken` from one of our own errors, which read ``rule: fix``."""
    rule, _, fix = str(error).partition(": ")
    return broken(rule, fix)


def nearest(name: object, known: Sequence[str]) -> str:
    """What to write instead of an unknown name."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    more = len(known) - _MOST_NAMES
    listed = ", ".join(known[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"did you mean {near[0]!r}? Known here: {listed}" if near else f"known here: {listed}"


def problem_of(details: ErrorDetails, data: object, model: type[BaseModel]) -> Problem:
    """A pydantic error about ``data``, as the people who wrote the data see it."""
    place = _written(details["loc"], data)
    if details["type"] == "extra_forbidden":
        known = list(_model_at(model, details["loc"][:-1]).model_fields)
        rule, fix = "there is no such field", nearest(place[-1], known)
    else:
        rule, fix = _rule_and_fix(details)
    value = None if details["type"] == "missing" else shown(details["input"])
    return Problem(path_of(place), value, rule, fix)


def path_of(place: Sequence[str | int]) -> str:
    """``search.population`` or ``constraints[1]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the spec"


def shown(value: object) -> str:
    """A value as one short line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _written(loc: Sequence[str | int], data: object) -> list[str | int]:
    """The part of a place that was really written: a device given as a mere name has no inside."""
    place: list[str | int] = []
    for part in loc:
        if not isinstance(data, Mapping | list | tuple):
            break
        place.append(part)
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(part, int):
            data = data[part]
    return place


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    for part in loc:
        if str(part) not in model.model_fields:  # a name in a mapping of sections
            continue
        annotation = model.model_fields[str(part)].annotation
        for inner in (annotation, *get_args(annotation)):  # a section may be given or null
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model


def _rule_and_fix(details: ErrorDetails) -> tuple[str, str]:
    context: dict[str, Any] = details.get("ctx", {})
    if details["type"] == BROKEN_RULE:
        return context["rule"], context["fix"]
    if details["type"] == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"must be one of {', '.join(choices)}", nearest(details["input"], choices)
    if details["type"] in _RULES:
        rule, fix = _RULES[details["type"]]
        return rule(context), fix(context)
    return details["msg"], "see the commented spec of `bitfront init`"


_Words = Callable[[dict[str, Any]], str]


def _words(text: str) -> _Words:
    return lambda context: text.format(**context)


_RULES: dict[str, tuple[_Words, _Words]] = {
    kind: (_words(rule), _words(fix))
    for kind, rule, fix in (
        ("missing", "is missing", "add it; the commented spec of `bitfront init` shows it"),
        ("greater_than_equal", "must be at least {ge}", "give {ge} or more"),
        ("greater_than", "must be above {gt}", "give more than {gt}"),
        ("less_than_equal", "must be at most {le}", "give {le} or less"),
        ("less_than", "must be below {lt}", "give less than {lt}"),
        ("finite_number", "must be a finite number", "give one"),
        ("int_type", "must be a whole number", "write it without quotes and without a decimal point"),
        ("float_type", "must be a number", "write it without quotes"),
        ("bool_type", "must be true or false", "write one of the two, without quotes"),
        ("string_type", "must be text", "put it in quotes"),
        ("string_too_short", "must not be empty", "give at least {min_length} character"),
        ("string_too_long", "must have at most {max_length} characters", "shorten it"),
        ("string_pattern_mismatch", "must be one line of printable text", "leave out line breaks and tabs"),
        ("tuple_type", "must be a list", "write it in brackets, as in [a, b]"),
        ("too_short", "must not be empty", "give at least {min_length}"),
        ("dict_type", "must be a mapping", "write one `name: value` a line, indented below it"),
        ("model_type", "must be a mapping", "write one `name: value` a line, indented below it"),
        ("invalid_key", "is no text", "put the name in quotes"),
    )
}
