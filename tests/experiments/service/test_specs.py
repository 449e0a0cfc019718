"""Specs that are sent: hundreds of bad ones, each with a clear answer, and nothing of any is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bitfront.experiments.service.settings import Settings
from bitfront.experiments.service.specs import MOST_YAML, is_allowed
from bitfront.experiments.store.base import Store

Refused = Callable[[httpx.Response, int], dict[str, Any]]
PLACE = "/api/v1/experiments"
GOOD: dict[str, Any] = {"space": "digits", "data": "digits", "device": "bitfusion"}
YAML, JSON = "application/yaml", "application/json"

_ANY_WRONG = [None, [], {}, [1], {"a": 1}, True, 1.5, -1, "nonsense", "", "../x", "\U0001f4a5", 10**400]
_FIELDS = [
    *(("space",), ("data",), ("device",), ("seed",), ("name",), ("objectives",), ("constraints",), ("fixed",)),
    *(("search", name) for name in ("population", "generations", "strategy", "accuracy", "islands", "options")),
    *(("samples", name) for name in ("fp32", "held_out", "stop", "tolerance")),
    *(("supernet", name) for name in ("warmup_epochs", "schedule", "pretrained")),
    *(("executor", name) for name in ("kind", "workers", "address")),
    *(("export", name) for name in ("format", "pick", "finetune_epochs", "samples")),
    *(("predictor", name) for name in ("kind", "tune")),
    ("front", "measure"),
]
_HUGE = 10**400
_FINE: dict[str, list[Any]] = {
    "name": ["nonsense", "../x", "\U0001f4a5"],
    "constraints": [[]],
    "fixed": [{}],
    "generations": [None, _HUGE],
    "options": [{}],
    "islands": [{}],
    "pretrained": [True],
    "workers": [None],
    "address": [None],
    **{name: [_HUGE] for name in ("fp32", "held_out", "warmup_epochs", "finetune_epochs", "measure")},
}


def _wrong_values() -> Iterator[dict[str, Any]]:
    """Each field with each value that it does not take."""
    for place in _FIELDS:
        for value in _ANY_WRONG:
            if not any(
                value is one or (value == one and type(value) is type(one)) for one in _FINE.get(place[-1], [])
            ):
                inner = {place[1]: value} if len(place) == 2 else value
                yield {**GOOD, place[0]: inner}


_SENT: list[tuple[str, str]] = [
    (YAML, "space: [digits"),
    (YAML, "space: digits\nspace: digits\n"),
    (YAML, "a: &x 1\nb: *x\n"),
    (YAML, "!!python/object/apply:os.system ['touch /tmp/owned']"),
    (YAML, "space: !!python/name:os.system\n"),
    (YAML, "- 1\n"),
    (YAML, "just text"),
    (YAML, ""),
    (YAML, "[" * 5000),
    (YAML, "{a: " * 3000),
    (YAML, "%YAML 9.9\n---\na"),
    (YAML, "? [a]\n: b\n"),
    (YAML, "space: digits\n---\nspace: digits\n"),
    (YAML, "seed: 1" + "0" * 5000),
    (YAML, "when: 2026-99-99\n"),
    (YAML, "<<: {a: 1}\n"),
    *((YAML, f"seed: !!{tag}\n") for tag in ("bool x", 'int ""', 'float ""', "timestamp x", "binary ä", "set x")),
    (JSON, "{"),
    (JSON, "[]"),
    (JSON, "null"),
    (JSON, "3"),
    (JSON, '"text"'),
    (JSON, "[" * 100_000),
    (JSON, '{"a":' * 100_000),
    (JSON, '{"space": NaN}'),
    (JSON, '{"space": "digits", "space": "digits"}'),
    (JSON, '{"seed": ' + "9" * 5000 + "}"),
    (JSON, json.dumps({**GOOD, "more": 1})),
    (JSON, json.dumps({**GOOD, "search": {"populaton": 1}})),
    (JSON, json.dumps({**GOOD, "devices": ["bitfusion"]})),
    (JSON, json.dumps({**GOOD, "space": "mine.py"})),
    (JSON, json.dumps({**GOOD, "space": "/etc/passwd.yaml"})),
    (JSON, json.dumps({**GOOD, "space": {"name": "x", "content": {"stages": "none"}}})),
    (JSON, json.dumps({**GOOD, "device": {"name": "roofline", "options": {"file": "/etc/passwd"}}})),
    (JSON, json.dumps({**GOOD, "device": {"name": "imported", "options": {"file": "/etc/passwd"}}})),
    (
        JSON,
        json.dumps(
            {"space": "digits", "data": "digits", "devices": {"a": {"name": "roofline", "options": {"file": "x"}}}}
        ),
    ),
    (JSON, json.dumps({**GOOD, "data": {"kind": "npz", "path": "/etc/passwd"}})),
    (JSON, json.dumps({**GOOD, "data": {"kind": "npz", "path": "~/x.npz"}})),
    (JSON, json.dumps({**GOOD, "data": {"kind": "npz", "path": "data/../../x.npz"}})),
    (JSON, json.dumps({**GOOD, "data": {"kind": "npz", "path": "x\u0000.npz"}})),
    (JSON, json.dumps({**GOOD, "data": {"kind": "npz", "path": 7}})),
    (JSON, json.dumps({**GOOD, "supernet": {"weights": "/etc"}})),
    (JSON, json.dumps({**GOOD, "executor": {"kind": "ray", "address": "ray://evil.example:10001"}})),
    (JSON, json.dumps({**GOOD, "name": "x" * 101})),
    (JSON, json.dumps({**GOOD, "name": "a\nb"})),
    (JSON, json.dumps({**GOOD, "objectives": ["top1", "top1"]})),
    (JSON, json.dumps({**GOOD, "constraints": ["latency_ms <= many"]})),
    (JSON, json.dumps({**GOOD, "fixed": {"nowhere.kernel": 3}})),
    (JSON, json.dumps({**GOOD, "fixed": {"*": 3}})),
    (JSON, json.dumps({**GOOD, "search": {"generations": None}})),
]


def test_there_are_hundreds() -> None:
    assert len(_SENT) + len(list(_wrong_values())) >= 250


def test_every_wrong_value_is_named(api: TestClient, store: Store, refused: Refused) -> None:
    for spec in _wrong_values():
        error = refused(api.post(PLACE, json=spec), 422)
        assert error["type"] in ("SpecError", "InvalidSpaceError"), (spec, error)
        if error["type"] == "SpecError":
            assert error["problems"], spec
            assert all(one["rule"] and one["fix"] and one["where"] for one in error["problems"])
    assert store.list_experiments().items == ()


@pytest.mark.parametrize(("kind", "text"), _SENT, ids=range(len(_SENT)))
def test_what_makes_no_spec_is_explained(
    api: TestClient, store: Store, refused: Refused, kind: str, text: str
) -> None:
    error = refused(api.post(PLACE, content=text.encode(), headers={"Content-Type": kind}), 422)
    assert len(error["message"]) < 20_000
    assert "root:" not in error["message"]  # nothing of a file that it names
    assert store.list_experiments().items == ()


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [("image/png", b"x", 415), ("", b"{}", 415), (JSON, b"\xff", 422), (YAML, b"a: \x00", 422)],
)
def test_bodies_of_other_kinds_are_refused(
    api: TestClient, refused: Refused, kind: str, content: bytes, status: int
) -> None:
    refused(api.post(PLACE, content=content, headers={"Content-Type": kind}), status)


_NO_TEXT: list[dict[str, Any]] = [
    *({"name": f"a{bad}"} for bad in ("\x00", "\ud800", "\udfff")),
    *({"fixed": {bad: [3]}} for bad in ("\x00", "\ud800")),
    {"device": {"name": "bitfusion", "options": {"x\ud800": "y"}}},
    {"device": {"name": "bitfusion", "options": {"x": "y\x00"}}},
    {"search": {"options": {"a": [{"b": "\ud800"}]}}},
    {"\ud800": 1},
]


@pytest.mark.parametrize("more", _NO_TEXT, ids=range(len(_NO_TEXT)))
@pytest.mark.parametrize("kind", [JSON, YAML])
def test_what_no_database_holds_is_refused(
    api: TestClient, store: Store, refused: Refused, more: dict[str, Any], kind: str
) -> None:
    """Escapes can write what is no text: JSON's are YAML's as well."""
    text = json.dumps({**GOOD, **more})
    assert text.isascii()
    error = refused(api.post(PLACE, content=text, headers={"Content-Type": kind}), 422)
    assert "can not be stored" in error["problems"][0]["rule"]
    assert store.list_experiments().items == ()


def test_yaml_is_short_since_it_is_slow(api: TestClient, refused: Refused) -> None:
    text = json.dumps(GOOD)
    longest = text + "\n#" + "x" * (MOST_YAML - len(text) - 2)
    check = "/api/v1/specs/check"
    assert api.post(check, content=longest, headers={"Content-Type": YAML}).status_code == 200
    error = refused(api.post(check, content=longest + "x", headers={"Content-Type": YAML}), 413)
    assert "JSON" in error["fix"]
    spaces = text + " " * MOST_YAML
    assert api.post(check, content=spaces, headers={"Content-Type": JSON}).status_code == 200


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["space", "data", "device", "devices", "search", "samples", "supernet", "fixed", "executor", "front"]
)


@given(st.dictionaries(_NAMES, _VALUES, min_size=1, max_size=4))
@examples(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_sent_breaks_it(api: TestClient, refused: Refused, values: dict[str, Any]) -> None:
    answer = api.post("/api/v1/specs/check", json={**GOOD, **values})
    if answer.status_code != 200:
        refused(answer, 422)


def test_files_may_be_named_where_the_keeper_said_so(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.npz").write_bytes(b"")
    (folder / "out").symlink_to("/etc")
    allowed = replace(settings, data_folders=(folder,))
    assert is_allowed(str(folder / "a.npz"), allowed)
    assert is_allowed(str(settings.home / "data" / "x"), settings)
    for path in (str(folder / "a.npz"), "/etc/passwd", "", "~", str(settings.home / "bitfront.sqlite"), 7, None):
        assert not is_allowed(path, settings)
    for path in (str(folder / "out" / "passwd"), str(folder / ".." / "x"), str(folder) + "2/x"):
        assert not is_allowed(path, allowed)


def test_a_named_ray_cluster_may_be_used(serve: Callable[[Settings], TestClient], settings: Settings) -> None:
    client = serve(replace(settings, ray_addresses=("auto",)))
    spec = {**GOOD, "executor": {"kind": "ray", "address": "auto"}}
    assert client.post("/api/v1/specs/check", json=spec).status_code == 200


def test_a_check_launches_nothing(api: TestClient, store: Store) -> None:
    found = api.post("/api/v1/specs/check", json=GOOD).json()
    assert found["spec"]["search"]["population"] == 100
    assert len(found["hash"]) == 64
    assert store.list_experiments().items == ()


def test_the_template_is_a_spec(api: TestClient) -> None:
    text = api.get("/api/v1/specs/template").text
    answer = api.post("/api/v1/specs/check", content=text, headers={"Content-Type": YAML})
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:  # its device may not be usable on this machine, but its form is right
        assert all(one["where"].startswith("device") for one in answer.json()["error"]["problems"])
    schema = api.get("/api/v1/specs/schema").json()
    assert set(GOOD) <= set(schema["properties"])
