"""Specs that are sent: read as YAML or JSON, and held to what may come from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bitfront.experiments.service.refusals import InvalidRequestError, MediaTypeError, TooLargeError
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.spec import Problem, Spec, SpecError, spec_from
from bitfront.experiments.spec_errors import shown
from bitfront.experiments.spec_yaml import read_mapping

SOURCE = "the spec"
MOST_YAML = 128 * 1024
"""Bytes of YAML, which takes a second for every 60 KB of it; JSON is read a hundred times as fast."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain")
_FOLDERS = "name a file in a folder that the service was started with: --data-folder DIR"


def read_sent(body: bytes, content_type: str, settings: Settings) -> Spec:
    """The spec in a body.

    Raises:
        MediaTypeError: the body's type is neither JSON nor YAML.
        SpecError: it is not acceptable; every problem that can be seen at once is listed.
        InvalidRequestError: it is no text.
        TooLargeError: it is YAML, and long.
    """
    return checked(parsed(body, content_type), settings)


def checked(values: Mapping[Any, Any], settings: Settings) -> Spec:
    """The spec in plain values that somebody sent.

    Raises:
        SpecError: as `read_sent`.
    """
    checked_text(values)
    # Before anything else, since what a spec names is opened while it is checked.
    if problems := list(_foreign(values, settings)):
        raise SpecError(SOURCE, problems)
    return spec_from(values, SOURCE, settings.home)


def checked_text(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The same values, all text of which a database and a page can hold.

    Raises:
        SpecError: there is a zero byte or half a character in them.
    """
    if text := next(_no_text(values), None):
        rule = "has a zero byte or half a character in it, which can not be stored"
        raise SpecError(SOURCE, [Problem(SOURCE, shown(text), rule, "write text in UTF-8 without such")])
    return dict(values)


def storable(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts without zero bytes and halves of characters, to be shown again."""
    return {_UNSTORABLE.sub("", name): _UNSTORABLE.sub("", text) for name, text in texts.items()}


def parsed(body: bytes, content_type: str) -> dict[Any, Any]:
    """The mapping in a body, whatever it means.

    Raises:
        As `read_sent`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError("the body is no text in UTF-8", "send JSON or YAML in UTF-8", "body") from error
    if "\x00" in text:
        raise InvalidRequestError("the body holds a zero byte", "send JSON or YAML text", "body")
    if kind == "application/json":
        return _json(text)
    if kind in _YAML:
        if len(body) > MOST_YAML:
            raise TooLargeError(f"a spec in YAML is larger than {MOST_YAML:,} bytes", "send it as JSON", "body")
        return read_mapping(text, SOURCE)
    raise MediaTypeError(
        f"a spec is JSON or YAML, and the body is called {shown(kind)}",
        "set Content-Type to application/json or application/yaml",
        "header.content-type",
    )


def _json(text: str) -> dict[Any, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        words = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON ({error})"
        raise SpecError(SOURCE, [Problem(SOURCE, None, words, "send one JSON object")]) from error
    if not isinstance(value, dict):
        rule = f"must be an object, not a {type(value).__name__}"
        raise SpecError(SOURCE, [Problem(SOURCE, None, rule, 'send {"space": ...}')])
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return value


def _no_text(values: object) -> Iterator[str]:
    """Texts, at any depth, that no database and no answer can hold: escapes of JSON and YAML can write such."""
    left = [values]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set):
            left += one
        elif isinstance(one, str) and _UNSTORABLE.search(one):
            yield one


def _foreign(values: Mapping[Any, Any], settings: Settings) -> Iterator[Problem]:
    """What a spec from elsewhere may not name: files outside the data folders, and other machines."""
    for place, path in _paths(values):
        if not is_allowed(path, settings):
            yield Problem(place, shown(path), "is no file that a spec that is sent may name", _FOLDERS)
    for place, options in _device_options(values):
        if "file" in options:
            fix = "send the table to /api/v1/tables and name the device"
            yield Problem(
                f"{place}.file", shown(options["file"]), "a spec that is sent may name no file here", fix
            )
    address = _inside(values, "executor").get("address")
    if address is not None and address not in settings.ray_addresses:
        fix = "leave it out, or start the service with --ray-address ADDRESS"
        yield Problem("executor.address", shown(address), "is no Ray cluster of this service", fix)


def _paths(values: Mapping[Any, Any]) -> Iterator[tuple[str, object]]:
    for section, field in (("data", "path"), ("supernet", "weights")):
        path = _inside(values, section).get(field)
        if path is not None:
            yield f"{section}.{field}", path


def _device_options(values: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    yield "device.options", _inside(_inside(values, "device"), "options")
    for name, section in _inside(values, "devices").items():
        if isinstance(section, Mapping):
            yield f"devices.{name}.options", _inside(section, "options")


def _inside(values: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    inner = values.get(name)
    return inner if isinstance(inner, Mapping) else {}


def is_allowed(path: object, settings: Settings) -> bool:
    """Whether a path, with all links followed, lies in a folder that specs from elsewhere may name files in."""
    if not isinstance(path, str) or "\x00" in path or path.startswith("~"):
        return False
    try:
        real = Path(path).resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    folders = (*settings.data_folders, settings.home / "data")
    return any(real.is_relative_to(folder.resolve()) for folder in folders)
