"""The fields of a form for specs, made of the spec's own JSON schema, so that it knows every field there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bitfront.experiments.spec import Spec
from bitfront.experiments.spec_template import flow
from bitfront.experiments.uploaded_predictors import uploaded_names

Kind = Literal["choice", "text", "number", "yaml"]
GENERAL = ""
_OPEN = ("", "space", "data", "device")
_REQUIRED = ("space.name", "data.name", "device.name")
_RULES = (("minimum", "at least {}"), ("exclusiveMinimum", "above {}"), ("maximum", "at most {}"))
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, slots=True)
class SpecField:
    """A field: ``path`` as in the spec; ``hint`` says what it is, ``default`` what holds where it stays empty.

    ``kind``: ``yaml`` fields hold lists or mappings in YAML's short form.
    """

    path: str
    kind: Kind
    hint: str
    default: str
    example: str
    rule: str
    choices: tuple[str, ...]

    @property
    def id(self) -> str:
        """A name for HTML."""
        return "f-" + self.path.replace(".", "-")

    @property
    def name(self) -> str:
        """The last part of its path, which stands in the form."""
        return self.path.rpartition(".")[2]

    @property
    def is_required(self) -> bool:
        """Whether a spec for one device needs it."""
        return self.path in _REQUIRED


@dataclass(frozen=True, slots=True)
class SpecPart:
    """A section with its fields; ``path`` is `GENERAL` for what stands at the top of a spec."""

    path: str
    hint: str
    fields: tuple[SpecField, ...]

    @property
    def is_open(self) -> bool:
        """Whether it is shown at once, as what most people fill in."""
        return self.path in _OPEN


@cache
def spec_parts() -> tuple[SpecPart, ...]:
    """All sections of a spec: what must be given comes first."""
    schema = Spec.model_json_schema()
    sections, general = [], []
    for name, value in schema["properties"].items():
        inner = _section(schema, value)
        if inner is None:
            general.append(_field(name, value))
        else:
            fields = (_field(f"{name}.{key}", one) for key, one in _visible(name, inner))
            sections.append(SpecPart(name, _words(inner), tuple(fields)))
    order = {name: place for place, name in enumerate(("space", "data", "device"))}
    sections.sort(key=lambda part: order.get(part.path, len(order)))
    return (SpecPart(GENERAL, "", tuple(general)), *sections)


def spec_fields() -> Iterator[SpecField]:
    """All fields in the form's order."""
    for part in spec_parts():
        yield from part.fields


def suggestions(home: Path) -> dict[str, list[str]]:
    """Known names by the path of the field that takes them."""
    from bitfront.experiments.device_names import known_devices
    from bitfront.predictors import PREDICTORS
    from bitfront.search.executors import EXECUTORS
    from bitfront.search.strategies import STRATEGIES
    from bitfront.supernet.data import DATASETS
    from bitfront.supernet.spaces import SPACES

    return {
        "space.name": sorted(SPACES.names()),
        "data.name": sorted(DATASETS.names()),
        "device.name": sorted(known_devices(home)),
        "predictor.kind": sorted(PREDICTORS.names()),
        "predictor.uploaded": uploaded_names(home),
        "search.strategy": sorted(STRATEGIES.names()),
        "executor.kind": sorted(EXECUTORS.names()),
    }


def _section(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object behind a reference, which may be given or null."""
    for one in (value, *value.get("anyOf", ())):
        if "$ref" in one:
            found: Mapping[str, Any] = schema["$defs"][one["$ref"].rpartition("/")[2]]
            return found
    return None


def _visible(section: str, inner: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    model = Spec.model_fields[section].annotation
    fields = getattr(model, "model_fields", {})
    for name, value in inner["properties"].items():
        if name not in fields or fields[name].repr:  # others are filled in when the spec is read
            yield name, value


def _field(path: str, value: Mapping[str, Any]) -> SpecField:
    own = {**value, **next((one for one in value.get("anyOf", ()) if one.get("type") != "null"), {})}
    examples = value.get("examples", [])
    default = value.get("default")
    kind = _kind(own)
    return SpecField(
        path=path,
        kind=kind,
        hint=_words(value),
        default="" if default in (None, "", [], {}) else _text(default, kind),
        example=_text(examples[0], kind) if examples else "",
        rule=", ".join(words.format(own[key]) for key, words in _RULES if key in own),
        choices=tuple(map(str, own.get("enum", _SWITCH.get(own.get("type"), ())))),
    )


_SWITCH: dict[Any, tuple[str, ...]] = {"boolean": ("true", "false")}


def _kind(own: Mapping[str, Any]) -> Kind:
    if "enum" in own or own.get("type") == "boolean":
        return "choice"
    if own.get("type") in _NUMBERS:
        return "number"
    return "text" if own.get("type") == "string" else "yaml"


def _text(value: Any, kind: Kind) -> str:
    return value if kind == "text" and isinstance(value, str) else flow(value)


def _words(value: Mapping[str, Any]) -> str:
    return " ".join(str(value.get("description", "")).replace("`", "").split())
