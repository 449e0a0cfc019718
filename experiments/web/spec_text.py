"""A spec as YAML and the same as the texts of a form's fields: one is made of the other, and neither is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bitfront.experiments.spec import Problem, SpecError, spec_from
from bitfront.experiments.spec_template import flow
from bitfront.experiments.spec_yaml import Dumper, read_mapping
from bitfront.experiments.web.spec_fields import SpecField, spec_fields
from bitfront.supernet.errors import BitfrontError

YAML_FIELD = "yaml"
START = """\
name: digits
space: digits
data: digits
device: host-onnxruntime
objectives: [top1, latency_ms, size_bytes]
"""
_NOTHING = ("null", "", "{}", "[]")
_SHORT = ("space", "data", "device")
_INDEX = re.compile(r"\[\d+\]")


def texts_of(values: Mapping[Any, Any]) -> dict[str, str]:
    """Path to text of every field that ``values`` give; those that they do not give are missing."""
    texts = {}
    for field in spec_fields():
        section, _, name = field.path.rpartition(".")
        found = _inside(values, section)
        if name in found:
            texts[field.path] = _text(found[name], field)
    return texts


def with_texts(values: Mapping[Any, Any], texts: Mapping[str, str]) -> dict[Any, Any]:
    """``values`` with those of ``texts`` in their places; an empty text takes a field out, the rest stays."""
    known = {field.path: field for field in spec_fields()}
    result = dict(values)
    for path, text in texts.items():
        if path in known:
            _set(result, known[path], text.strip())
    return {name: _shortened(name, value) for name, value in result.items()}


def newer_texts(sent: Mapping[str, str], before: str) -> dict[str, str]:
    """Of the fields in a form that was sent, those that were changed since the page showed them.

    Args:
        sent: names to texts, of whatever the form has.
        before: the YAML that the page was shown with.
    """
    try:
        shown = texts_of(read_mapping(before, "the page"))
    except SpecError:
        shown = {}
    known = [field.path for field in spec_fields() if field.path in sent]
    return {path: sent[path] for path in known if _one_line(sent[path]) != _one_line(shown.get(path, ""))}


def given_of(spec: Mapping[str, Any], home: Path) -> dict[Any, Any]:
    """What of a stored spec, which has every default, asks for the same; all of it where less does not."""
    defaults = {field.path: field.default for field in spec_fields()}
    texts = texts_of(spec)
    kept = {path: text for path, text in texts.items() if text not in (defaults[path], *_NOTHING)}
    try:
        wanted = spec_from(spec, home=home, is_stored=True)
        read = texts_of(spec_from(with_texts({}, kept), home=home, is_stored=True).as_json())
        # Some defaults follow from other fields, as the name does from the space's.
        values = with_texts({}, kept | {path: text for path, text in texts.items() if read.get(path) != text})
        return values if spec_from(values, home=home, is_stored=True) == wanted else dict(spec)
    except BitfrontError:  # a device that is not here any more, or a file
        return dict(spec)


def yaml_of(values: Mapping[Any, Any]) -> str:
    """YAML as people write it: a section a block, lists in one line."""
    if not values:
        return ""
    return yaml.dump(
        dict(values), Dumper=Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )


def field_of(path: str) -> str:
    """The path of the field to which a problem belongs; `YAML_FIELD` where there is none."""
    known = {field.path for field in spec_fields()}
    place = _INDEX.sub("", path)
    while place:
        if place in known:
            return place
        if f"{place}.name" in known:
            return f"{place}.name"
        place = place.rpartition(".")[0]
    return YAML_FIELD


def problems_of(error: SpecError) -> list[dict[str, str]]:
    """JSON-able: each problem with the field at which it is shown."""
    return [{"field": field_of(one.path), "path": one.path, "text": _told(one)} for one in error.problems]


def _told(one: Problem) -> str:
    given = "" if one.value is None else f" (given: {one.value})"
    return f"{one.rule}{given}: {one.fix}"


def _inside(values: Mapping[Any, Any], section: str) -> Mapping[Any, Any]:
    if not section:
        return values
    found = values.get(section)
    if isinstance(found, str):
        return {"name": found}
    return found if isinstance(found, Mapping) else {}


def _text(value: Any, field: SpecField) -> str:
    return value if field.kind == "text" and isinstance(value, str) else flow(value)


def _one_line(text: str) -> str:
    """As browsers send what stands in a field."""
    return text.replace("\r", "").replace("\n", "").strip()


def _set(values: dict[Any, Any], field: SpecField, text: str) -> None:
    section, _, name = field.path.rpartition(".")
    if section and not isinstance(values.get(section), (Mapping, str, type(None))):
        return  # what is written there is no section, which is told at the YAML, and is not thrown away
    inside = dict(_inside(values, section)) if section else values
    if text:
        inside[name] = text if field.kind == "text" else _value(text)
    elif name in inside:
        inside.pop(name)
    else:
        return  # nothing to be taken out, so that all stays as it is written
    if section and inside:
        values[section] = inside
    elif section:
        values.pop(section, None)


def _value(text: str) -> Any:
    """What a field's text means; one that is no YAML stays text, which is then refused with its field's name."""
    if "\n" in text:
        return text
    try:
        return read_mapping(f"value: {text}", "the field")["value"]
    except (SpecError, KeyError):
        return text


def _shortened(name: Any, value: Any) -> Any:
    """``space: digits`` for a section that has but a name."""
    if (
        name in _SHORT
        and isinstance(value, Mapping)
        and list(value) == ["name"]
        and isinstance(value["name"], str)
    ):
        return value["name"]
    return value
