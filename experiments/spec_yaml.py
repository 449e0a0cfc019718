"""YAML as people mean it: repeated keys are errors, ``1e-3`` is a number, errors name line and column."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from bitfront.experiments.spec_errors import Problem, SpecError

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*)(?:\.\d*)?[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """Plain values only, without references between them."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.Event = self.get_event()  # type: ignore[no-untyped-call]
            problem, mark = "references (*name) are not allowed", event.start_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)  # type: ignore[arg-type]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Writes what `read_mapping` reads as the same, so that a text such as ``1e3`` gets quotes."""


# YAML 1.1 wants a dot and a sign in 1.0e-3; people and YAML 1.2 do not.
for _kind in (_Loader, Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


# A tag such as !!int on a text that is none ends in whatever the type's parser happens to raise.
_OF_TAGS = (ValueError, LookupError, AttributeError, TypeError, OverflowError)


def read_mapping(text: str, source: str) -> dict[Any, Any]:
    """The mapping in a YAML text.

    Raises:
        SpecError: the text is no YAML (line and column are named), repeats a key, refers back, or is no mapping.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, *_OF_TAGS) as error:
        raise SpecError(source, [_syntax_problem(error)]) from error
    if value is None:
        value = {}
    if not isinstance(value, dict):
        kind = type(value).__name__
        fix = "write `name: value` lines, as in the commented spec of `bitfront init`"
        raise SpecError(source, [Problem("the spec", None, f"must be a mapping, not a {kind}", fix)])
    return value


def _syntax_problem(error: Exception) -> Problem:
    fix = "mend the YAML there: mind indentation, colons, brackets and quotes"
    if isinstance(error, RecursionError):
        return Problem("the spec", None, "is nested too deeply", "write fewer levels")
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:
        return Problem("the spec", None, str(error).replace("\n", " "), fix)
    words = getattr(error, "problem", None) or "is not valid YAML"
    return Problem(f"line {mark.line + 1}, column {mark.column + 1}", None, words, fix)
