"""Files that are sent: kept whole or not at all, whatever they are and whatever they are called."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from fastapi.testclient import TestClient

from bitfront.experiments.service.jobs import Jobs
from bitfront.experiments.service.settings import Settings
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.imports.own import write_csv
from bitfront.predictors import stored
from bitfront.supernet.files import save_tensors
from bitfront.supernet.spaces import SPACES

Refused = Callable[[httpx.Response, int], dict[str, Any]]
Serve = Callable[[Settings], TestClient]
TABLES = "/api/v1/tables"
PREDICTORS = "/api/v1/predictors"
TRAVERSALS = ["../x", "..", "a/b", "a\\b", "/etc/passwd", "x\x00", ".hidden", "", "x" * 200, "a b", "é", "x\n"]


def _files(home: Path) -> set[str]:
    """What is in a home, without the store's own files."""
    found = {str(path.relative_to(home)) for path in home.rglob("*")} if home.exists() else set()
    return {name for name in found if not name.startswith("bitfront.sqlite")}


def _table(space: str, folder: Path) -> bytes:
    whole = SPACES.get(space)()
    table = DEVICES.get("bitfusion")().table(whole, None, np.random.default_rng(0))
    write_csv(table, folder / "sent.csv")
    return (folder / "sent.csv").read_bytes()


@pytest.mark.slow
def test_a_table_becomes_a_device(api: TestClient, tmp_path: Path, settings: Settings, refused: Refused) -> None:
    data = _table("digits", tmp_path)
    query = {"name": "phone", "space": "digits"}
    answer = api.post(TABLES, params=query, content=data)
    assert answer.status_code == 201, answer.text
    assert answer.json()["size_bytes"] == len(data)
    assert "phone" in {one["name"] for one in api.get("/api/v1/devices").json()["items"]}
    shown = api.get("/api/v1/devices/phone")
    assert shown.json()["options"] == {"interpolate": False}
    assert str(settings.home) not in shown.text
    spec = {"space": "digits", "data": "digits", "device": "phone"}
    assert api.post("/api/v1/specs/check", json=spec).status_code == 200
    refused(api.post(TABLES, params=query, content=data), 409)


@pytest.mark.slow
def test_a_bad_table_leaves_nothing(api: TestClient, settings: Settings, refused: Refused) -> None:
    before = _files(settings.home)
    query = {"name": "phone", "space": "digits"}
    for content in (b"kind,key\n1,2\n", b"a" * 10_000, b"kind,key,latency_ms\nblock,x,nan\n"):
        error = refused(api.post(TABLES, params=query, content=content), 422)
        assert str(settings.home) not in str(error)
    assert _files(settings.home) == before


@pytest.mark.slow
def test_a_bomb_is_no_more_than_a_bad_table(
    serve: Serve, settings: Settings, refused: Refused, tmp_path: Path
) -> None:
    """A few kilobytes of parquet that are gigabytes when read: the reader has little memory."""
    out = io.BytesIO()
    text = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(4_000_000, dtype=np.int32)), pyarrow.array(["x" * 100_000])
    )
    table = pyarrow.table({"kind": text, "key": text})
    pyarrow.parquet.write_table(table, out, store_schema=False, compression="zstd")
    assert len(out.getvalue()) < 100_000
    client = serve(replace(settings, job_memory=6 * 2**30, job_seconds=120))
    query = {"name": "phone", "space": "digits", "format": "parquet"}
    refused(client.post(TABLES, params=query, content=out.getvalue()), 422)
    assert not (settings.home / "devices").exists()


@pytest.mark.parametrize(
    "query",
    [
        {"name": "bitfusion", "space": "digits"},
        {"name": "x.partial", "space": "digits"},
        {"name": "x", "space": "nowhere"},
        {"name": "x", "space": "/etc/space.py"},
        {"name": "x", "space": "digits", "format": "pickle"},
        {"name": "x", "space": "digits", "format": "parquet"},
        *({"name": name, "space": "digits"} for name in TRAVERSALS),
    ],
)
def test_names_are_checked_before_anything_is_written(
    api: TestClient, settings: Settings, refused: Refused, query: dict[str, str]
) -> None:
    before = _files(settings.home)
    refused(api.post(TABLES, params=query, content=b"kind,key\n"), 422)
    assert _files(settings.home) == before


def test_what_is_too_large_or_empty_or_no_text_is_refused(
    serve: Serve, settings: Settings, refused: Refused
) -> None:
    client = serve(replace(settings, most_upload=10_000))
    before = _files(settings.home)
    query = {"name": "x", "space": "digits"}
    refused(client.post(TABLES, params=query, content=b"x" * 10_001), 413)
    refused(client.post(TABLES, params=query, content=(b"x" * 1000 for _ in range(20))), 413)
    refused(client.post(TABLES, params=query, content=b""), 422)
    refused(client.post(TABLES, params=query, content=b"a,b\x00"), 422)
    refused(client.post(TABLES, params=query, content=b"PAR1" * 9), 422)
    assert _files(settings.home) == before


ABOUT: dict[str, Any] = {
    "format": stored.FORMAT,
    "kind": "mlp",
    "how": "transferred",
    "space": "digits",
    "space_hash": "ab",
    "genes": [["head.weight_format", ["int8", "fp32"]]],
    "earlier_pairs": 3,
    "options": {"members": 5},
    "values": {},
    "metrics": {"kendall_tau": 0.5},
}
"""As `stored.manifest` says of a predictor."""


def _predictor(folder: Path, **other: Any) -> bytes:
    path = folder / "p.safetensors"
    save_tensors(path, {"w": torch.ones(3)}, {**ABOUT, **other})
    return path.read_bytes()


def test_a_predictor_is_kept(api: TestClient, settings: Settings, tmp_path: Path, refused: Refused) -> None:
    data = _predictor(tmp_path)
    answer = api.post(PREDICTORS, params={"name": "mine"}, content=data)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["kind"], answer.json()["space"]) == ("mlp", "digits")
    assert (settings.home / "predictors" / "uploaded" / "mine.safetensors").read_bytes() == data
    listed = api.get(PREDICTORS).json()["items"]
    assert [(one["id"], one["uploaded"], one["metrics"]) for one in listed] == [
        ("mine", True, {"kendall_tau": 0.5})
    ]
    refused(api.post(PREDICTORS, params={"name": "mine"}, content=data), 409)
    before = _files(settings.home)
    refused(api.post(PREDICTORS, params={"name": "mine", "replace": True}, content=data[:-1]), 422)
    assert _files(settings.home) == before
    assert (settings.home / "predictors" / "uploaded" / "mine.safetensors").read_bytes() == data


_WRONG: list[dict[str, Any]] = [
    *({"metrics": value} for value in (None, [1], {"kendall_tau": "good"}, {"kendall_tau": None})),
    *({"metrics": {"top_k_regret": 0.1}}, {"metrics": {"interval_coverage": 0.9}}),
    *({"space": value} for value in ([1], None, 7, "x" * 1000, "\ud800")),
    *({"kind": value} for value in ("nonsense", 3, None, ["mlp"])),
    *({name: 0} for name in ("how", "space_hash", "genes", "options", "values")),
    *({"genes": [["a"]]}, {"genes": [[1, []]]}, {"earlier_pairs": -1}, {"options": {"members": [5]}}),
]


@pytest.mark.parametrize("other", _WRONG, ids=range(len(_WRONG)))
def test_a_predictor_that_would_break_what_reads_it_is_refused(
    api: TestClient, settings: Settings, refused: Refused, tmp_path: Path, other: dict[str, Any]
) -> None:
    before = _files(settings.home)
    error = refused(api.post(PREDICTORS, params={"name": "x"}, content=_predictor(tmp_path, **other)), 422)
    assert "predictor fit" in error["fix"]
    assert str(tmp_path) not in str(error)
    assert _files(settings.home) == before
    assert api.get(PREDICTORS).json() == {"items": []}


def test_listing_reads_no_tensors(
    api: TestClient, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _predictor(tmp_path)
    assert api.post(PREDICTORS, params={"name": "mine"}, content=data).status_code == 201
    listed = api.get(PREDICTORS).json()
    with monkeypatch.context() as patched:
        patched.setattr(stored, "read", lambda _: pytest.fail("a file of tensors was read"))
        assert api.get(PREDICTORS).json() == listed
    folder = settings.home / "predictors" / "uploaded"
    (folder / "mine.json").unlink()  # as if the service had been ended before it was written
    assert api.get(PREDICTORS).json() == listed
    assert (folder / "mine.json").is_file()


def test_a_replaced_predictor_is_listed_as_it_is(api: TestClient, tmp_path: Path) -> None:
    for tau in (0.5, 0.75):
        data = _predictor(tmp_path, metrics={"kendall_tau": tau})
        assert api.post(PREDICTORS, params={"name": "mine", "replace": True}, content=data).status_code == 201
        assert [one["metrics"] for one in api.get(PREDICTORS).json()["items"]] == [{"kendall_tau": tau}]


def test_what_was_damaged_on_the_disk_does_not_hide_the_others(
    api: TestClient, settings: Settings, tmp_path: Path
) -> None:
    data = _predictor(tmp_path)
    for name in ("a", "b"):
        api.post(PREDICTORS, params={"name": name}, content=data)
    folder = settings.home / "predictors" / "uploaded"
    (folder / "a.json").unlink()
    (folder / "a.safetensors").write_bytes(data[:-1])
    listed = api.get(PREDICTORS).json()["items"]
    assert [(one["id"], one["kind"], one["is_there"]) for one in listed] == [
        ("a", "unreadable", False),
        ("b", "mlp", True),
    ]


@pytest.mark.parametrize("content", [b"x", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 8 + b"{}", b"\x80\x04K\x01."])
def test_what_is_no_predictor_leaves_nothing(
    api: TestClient, settings: Settings, refused: Refused, content: bytes
) -> None:
    before = _files(settings.home)
    refused(api.post(PREDICTORS, params={"name": "x"}, content=content), 422)
    assert _files(settings.home) == before


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leads_out_of_the_home(api: TestClient, settings: Settings, refused: Refused, name: str) -> None:
    before = _files(settings.home.parent)
    refused(api.post(PREDICTORS, params={"name": name}, content=b"x"), 422)
    assert _files(settings.home.parent) == before


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/experiments/..%2f..%2fetc/log",
        "/api/v1/experiments/%2e%2e/log",
        "/api/v1/experiments/..%5c..%5c/log",
        "/api/v1/experiments/%00/log",
        "/api/v1/devices/..%2fx",
        "/api/v1/devices/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static/..%2f..%2fetc/passwd",
    ],
)
def test_no_address_leads_out_of_the_home(api: TestClient, refused: Refused, path: str) -> None:
    refused(api.get(path), 404)
    if path.startswith("/api/v1/experiments"):
        refused(api.delete(path.removesuffix("/log")), 404)


def test_what_broken_uploads_left_is_removed_at_the_next_start(serve: Serve, settings: Settings) -> None:
    old, new, other = (settings.home / name for name in (".upload-old", ".upload-new", "old"))
    for folder in (old, new, other):
        folder.mkdir(parents=True)
        (folder / "table.csv").write_text("kind,key")
    for folder in (old, other):
        os.utime(folder, (0, 0))
    with serve(settings) as client:
        assert client.get("/healthz").status_code == 200
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("place", [f"{PREDICTORS}?name=x", "/api/v1/experiments", "/api/v1/experiments/x/exports"])
def test_who_goes_away_while_sending_is_no_error(
    api: TestClient, settings: Settings, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    messages = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
    path, _, query = place.partition("?")
    scope: dict[str, Any] = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": query.encode(), "client": ("127.0.0.1", 1)},
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
    }

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    async def ask() -> None:
        app: Any = api.app
        await app(scope, receive, send)

    before = _files(settings.home)
    with caplog.at_level(logging.INFO):
        anyio.run(ask)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert _files(settings.home) == before


def test_few_jobs_run_at_once(serve: Serve, settings: Settings, refused: Refused) -> None:
    client = serve(replace(settings, most_jobs=0))
    query = {"name": "x", "space": "digits"}
    answer = client.post(TABLES, params=query, content=b"kind,key\n")
    refused(answer, 429)
    assert answer.headers["Retry-After"] == "5"
    app: Any = client.app
    jobs: Jobs = app.state.service.jobs
    assert jobs.find(("x",)) is None
