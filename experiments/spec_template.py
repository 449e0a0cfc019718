"""The commented spec that `bitfront init` writes, made of the words that stand at the fields themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from bitfront.experiments.spec import Spec
from bitfront.experiments.spec_sections import DeviceSection, Section
from bitfront.experiments.spec_yaml import Dumper

_WIDTH = 100
_INDENT = "  "
_HEADER = """\
A bitfront experiment. Run it with `bitfront run FILE`.
Only `space`, `data` and `device` (or `devices`) must be given; all other values are the defaults.
"""


def template() -> str:
    """YAML text in which every field stands with its default, or an example, below a comment that explains it."""
    lines = [*(f"# {line}" for line in _HEADER.splitlines()), "", *_fields(Spec, "")]
    return "\n".join(lines) + "\n"


def _fields(section: type[Section], indent: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if not field.repr:  # filled in when the spec is read
            continue
        inner = field.annotation
        if inner == DeviceSection | None:  # what most want of `device` and `devices`
            inner = DeviceSection
        if isinstance(inner, type) and issubclass(inner, Section):
            yield ""
            yield from _comment(inner.__doc__ or "", indent)
            yield f"{indent}{name}:"
            yield from _fields(inner, indent + _INDENT)
        else:
            yield from _comment(field.description or "", indent)
            yield from _value(name, field, indent)


def _value(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    """The field with its default; an example replaces a missing default and explains an empty one."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.examples and (field.is_required() or isinstance(default, str)):
        default = field.examples[0]
    elif field.examples:
        yield f"{indent}# For example {name}: {flow(field.examples[0])}"
    yield f"{indent}{name}: {flow(default)}"


def flow(value: Any) -> str:
    """A value in one line of YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.dump(plain, Dumper=Dumper, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"
