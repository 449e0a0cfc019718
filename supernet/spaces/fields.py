"""Reading the dataclass that frames a space from plain values, field by field, with every problem at its path."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bitfront.supernet.quantization.formats import FORMATS

_MOST_CHOICES = 256
_LONGEST = 60
_MOST_BLOCKS, _LARGEST = 64, 65_536


class Problems(list[str]):
    """What was found wrong, as ``path = value: rule: fix``."""

    def add(self, path: str, value: object, rule: str, fix: str) -> None:
        """Note one problem."""
        text = repr(value)
        self.append(f"{path} = {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}: {rule}: {fix}")


def read_dataclass(kind: type[Any], value: object, path: str, problems: Problems) -> Any:
    """An instance of a dataclass out of a mapping; None where ``problems`` were added.

    Every whole number is from 1 to 65,536, a depth to 64; lists of them ascend, as they are choices of a gene;
    lists of text are number formats, from the widest to the narrowest.
    """
    if not isinstance(value, Mapping):
        problems.add(path, value, "must be a mapping", "write one `name: value` a line, indented below it")
        return None
    before, hints = len(problems), get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    _refuse_unknown(value, known, path, problems)
    read: dict[str, Any] = {}
    for field in fields(kind):
        place = f"{path}.{field.name}" if path else field.name
        if field.name in value:
            read[field.name] = _read(hints[field.name], value[field.name], place, problems)
        elif field.default is MISSING:
            problems.append(f"{place}: is missing: add it")
    return kind(**read) if len(problems) == before else None


def _refuse_unknown(value: Mapping[Any, Any], known: Sequence[str], path: str, problems: Problems) -> None:
    for name in value:
        if name not in known:
            near = get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            place = f"{path}.{name}" if path else str(name)
            problems.add(place, value[name], "there is no such field", f"{hint}Known here: {', '.join(known)}")


def _read(hint: Any, value: object, path: str, problems: Problems) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(inner[0], value, path, problems)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, path, problems)
    if origin is Literal:
        return _literal(inner, value, path, problems)
    if origin is tuple:
        return _list(inner, value, path, problems)
    return _scalar(hint, value, path, problems)


def _literal(choices: tuple[str, ...], value: object, path: str, problems: Problems) -> Any:
    if value not in choices:
        problems.add(path, value, f"must be one of {', '.join(choices)}", "write one of them")
    return value


def _scalar(hint: Any, value: object, path: str, problems: Problems) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            problems.add(path, value, "must be true or false", "write one of the two, without quotes")
    elif hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            problems.add(path, value, "must be a whole number", "write it without quotes and decimal point")
        elif value < 1:
            problems.add(path, value, "must be at least 1", "give 1 or more")
        elif value > (most := _MOST_BLOCKS if ".depths[" in path else _LARGEST):
            problems.add(path, value, f"must be at most {most:,}", f"give {most} or less")
        elif path.endswith("kernel") and value % 2 == 0:
            problems.add(path, value, "a kernel has a middle", "give an odd number, as 3, 5 or 7")
    return value


def _list(inner: tuple[Any, ...], value: object, path: str, problems: Problems) -> Any:
    if not isinstance(value, list | tuple):
        problems.add(path, value, "must be a list", "write it in brackets, as in [a, b]")
        return None
    if inner[-1] is not Ellipsis:
        if len(value) != len(inner):
            problems.add(path, value, f"must have {len(inner)} entries", "give exactly so many")
            return None
        return tuple(_read(inner[i], one, f"{path}[{i}]", problems) for i, one in enumerate(value))
    before = len(problems)
    if not 1 <= len(value) <= _MOST_CHOICES:
        problems.add(path, value, f"must have 1 to {_MOST_CHOICES} entries", "list the choices")
    items = tuple(_read(inner[0], one, f"{path}[{i}]", problems) for i, one in enumerate(value))
    if len(problems) == before:
        for rule, fix in _list_rules(inner[0], items, path):
            problems.add(path, list(value), rule, fix)
    return items


def _list_rules(hint: Any, items: tuple[Any, ...], path: str) -> Iterator[tuple[str, str]]:
    if hint is int:
        if any(a >= b for a, b in pairwise(items)):
            yield "must ascend, without repeating", f"write {sorted(set(items))}"
        if path.endswith("kernels") and any(item % 2 == 0 for item in items):
            yield "a kernel has a middle", "give odd numbers, as 3, 5 and 7"
    elif hint is str:
        yield from _format_rules(items)


def _format_rules(names: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    unknown = [name for name in names if name not in FORMATS.names()]
    if unknown:
        yield f"{unknown[0]!r} is no number format", f"choose from {', '.join(FORMATS.names())}"
        return
    ordered = sorted(dict.fromkeys(names), key=lambda name: -FORMATS.get(name).storage_bits)
    if list(names) != ordered:
        yield "must go from the widest to the narrowest, without repeating", f"write {ordered}"
