"""The client over a network that breaks, services that are busy, and things that are no bitfront at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from bitfront.experiments.bundle.archive import write_zip
from bitfront.experiments.bundle.folder import with_sums
from bitfront.experiments.client import Client, NoAnswerError
from bitfront.experiments.client_errors import ApiError
from bitfront.experiments.service.refusals import RateLimitError, UnavailableError
from bitfront.supernet.errors import CorruptFileError, UnsupportedError

Part = Callable[[httpx.Request], httpx.Response]
EVENTS = {"Content-Type": "text/event-stream"}
EXPORT: dict[str, Any] = {
    **{"candidate": 0, "format": "onnx", "device": "", "state": "ready", "error": "", "sha256": None},
    **{"size_bytes": 7, "top1_test": None, "created_at": None, "file": "/api/v1/experiments/x/exports/0/file"},
    "bundle": None,
}


class _Parts(httpx.BaseTransport):
    """Answers with ``parts``, one after the other; the last one for good."""

    def __init__(self, *parts: Part) -> None:
        self.parts = list(parts)
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.parts[min(len(self.asked), len(self.parts)) - 1](request)


def _client(transport: _Parts, waits: list[float] | None = None) -> Client:
    return Client(
        "http://user:swordfish@service",
        "bft_x",
        transport=transport,
        sleep=(waits if waits is not None else []).append,
    )


def _broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def _refusal(status: int, kind: str, **headers: str) -> Part:
    error = {"type": kind, "message": "m", "rule": "r", "fix": "f", "where": "w"}
    return lambda _: httpx.Response(status, json={"error": error}, headers=headers)


class _Cut(httpx.SyncByteStream):
    """Events, and then a connection that breaks."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("reset")


def _event(kind: str, number: int) -> str:
    return f'event: {kind}\nid: g{number}\ndata: {{"index": {number}}}\n\n'


def _events(text: str, cut: bool = False) -> Part:
    return lambda _: httpx.Response(
        200, headers=EVENTS, stream=_Cut(text) if cut else httpx.ByteStream(text.encode())
    )


BUSY = _refusal(503, "UnavailableError", **{"Retry-After": "5"})
MANY = _refusal(429, "RateLimitError", **{"Retry-After": "10"})
END = _events(_event("generation", 1) + _event("end", 1))


def test_who_watches_comes_back_for_two_minutes() -> None:
    waits: list[float] = []
    transport = _Parts(_events(_event("generation", 0), cut=True), _broken)
    with pytest.raises(NoAnswerError):
        list(_client(transport, waits).watch("x"))
    assert waits == sorted(waits)
    assert 110 < sum(waits) < 130


def test_who_watches_comes_back_to_a_service_that_is_busy() -> None:
    waits: list[float] = []
    transport = _Parts(_events(_event("generation", 0), cut=True), BUSY, MANY, _broken, BUSY, _broken, END)
    events = list(_client(transport, waits).watch("x"))
    assert [(one.kind, one.id) for one in events] == [("generation", "g0"), ("generation", "g1"), ("end", "g1")]
    assert waits == [1.0, 5.0, 10.0, 8.0, 16.0, 30.0]
    assert [one.headers.get("Last-Event-ID") for one in transport.asked] == [None, *["g0"] * 6]


def test_who_watches_gives_up_at_last() -> None:
    begun = _events(_event("generation", 0), cut=True)
    for trouble, kind in ((BUSY, UnavailableError), (MANY, RateLimitError), (_broken, NoAnswerError)):
        waits: list[float] = []
        transport = _Parts(begun, trouble)
        with pytest.raises(kind):
            list(_client(transport, waits).watch("x"))
        assert 60 < sum(waits) < 300
        never = _Parts(trouble)
        with pytest.raises(kind):
            list(_client(never).watch("x"))
        assert len(never.asked) == 4
    refused = _Parts(_refusal(404, "UnknownNameError"))
    with pytest.raises(ApiError):
        list(_client(refused).watch("x"))
    assert len(refused.asked) == 1


def test_streams_that_end_in_time_are_asked_for_again_for_good() -> None:
    waits: list[float] = []
    transport = _Parts(*[_events(_event("status", 0))] * 30, END)
    assert len(list(_client(transport, waits).watch("x"))) == 32
    assert waits == [1.0] * 30


NOT_OURS: list[Part] = [
    lambda _: httpx.Response(
        200, text="<html>Welcome to the hotel's network</html>", headers={"Content-Type": "text/html"}
    ),
    lambda _: httpx.Response(200, json={"unknown": 1}),
    lambda _: httpx.Response(200, json=[]),
    lambda _: httpx.Response(200, content=b"\xff"),
    lambda _: httpx.Response(301, headers={"Location": "https://service/"}),
    lambda _: httpx.Response(302, text="see elsewhere"),
    lambda _: httpx.Response(404, text="<html>no such page</html>"),
    lambda _: httpx.Response(400, json={"detail": "wrong"}),
]


@pytest.mark.parametrize("answer", NOT_OURS, ids=range(len(NOT_OURS)))
def test_what_is_no_bitfront_is_told_by_every_verb(answer: Part, tmp_path: Path) -> None:
    verbs: list[Callable[[Client], object]] = [
        lambda one: one.get("x"),
        lambda one: list(one.ls()),
        lambda one: one.launch({"space": "digits"}),
        lambda one: one.cancel("x"),
        lambda one: one.log("x"),
        lambda one: list(one.watch("x")),
        lambda one: one.front("x"),
        lambda one: one.export("x", 0, tmp_path / "m.onnx"),
        lambda one: one.devices(),
    ]
    for verb in verbs:
        with pytest.raises(NoAnswerError, match=r"give that URL|check the URL") as caught:
            verb(_client(_Parts(answer)))
        assert "swordfish" not in str(caught.value)
        assert "http://service" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_events_that_are_none_are_told() -> None:
    for data in ("no json", "[1]", ""):
        with pytest.raises(NoAnswerError, match="check the URL"):
            list(_client(_Parts(_events(f"event: status\ndata: {data}\n\n"))).watch("x"))


def test_a_newer_service_may_say_more() -> None:
    device: dict[str, Any] = {
        "name": "a",
        "kind": None,
        "costs": [],
        "formats": {},
        "tables": 0,
        "problem": None,
        "colour": "red",
    }
    transport = _Parts(lambda _: httpx.Response(200, json={"items": [device], "more": {"x": 1}}))
    assert [one.name for one in _client(transport).devices()] == ["a"]


def _sent(content: bytes) -> Part:
    return lambda _: httpx.Response(200, content=content)


def _told(**more: Any) -> Part:
    return lambda _: httpx.Response(200, text=json.dumps({**EXPORT, **more}))


def test_a_file_is_fetched_again_when_the_connection_breaks(tmp_path: Path) -> None:
    content = b"a model"
    told = _told(sha256=hashlib.sha256(content).hexdigest())
    cut: Part = lambda _: httpx.Response(200, stream=_Cut("a mo"))  # noqa: E731
    transport = _Parts(told, _broken, cut, BUSY, _sent(content))
    waits: list[float] = []
    _client(transport, waits).export("x", 0, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == content
    assert waits == [0.4, 0.8, 5.0]
    with pytest.raises(NoAnswerError):
        _client(_Parts(told, _broken)).export("x", 0, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_the_whole_bundle_of_a_single_file_is_fetched_and_checked(tmp_path: Path) -> None:
    files = with_sums({"manifest.json": b"{}", "model.onnx": b"a model"})
    told = _told(sha256=hashlib.sha256(b"a model").hexdigest(), bundle="/api/v1/experiments/x/exports/0/bundle")
    transport = _Parts(told, _sent(_zip(files)))
    _client(transport).export("x", 0, tmp_path / "b.zip", runtime="openvino", whole=True)
    assert (tmp_path / "b.zip").read_bytes() == _zip(files)
    assert json.loads(transport.asked[0].content)["runtime"] == "openvino"
    assert transport.asked[-1].url.path.endswith("/bundle")
    others = with_sums({"manifest.json": b"{}", "model.onnx": b"another model"})
    for wrong in (others, {**files, "manifest.json": b"[]"}, {"model.onnx": b"a model"}):
        with pytest.raises(CorruptFileError, match="not what was exported"):
            _client(_Parts(told, _sent(_zip(wrong)))).export("x", 0, tmp_path / "wrong.zip", whole=True)
    with pytest.raises(CorruptFileError):
        _client(_Parts(told, _sent(b"no zip file"))).export("x", 0, tmp_path / "wrong.zip", whole=True)
    with pytest.raises(UnsupportedError, match="has no bundle"):
        _client(_Parts(_told(sha256="0" * 64, bundle=None))).export("x", 0, tmp_path / "wrong.zip", whole=True)
    assert not (tmp_path / "wrong.zip").exists()


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    write_zip(sorted(files.items()), made)
    return made.getvalue()


@pytest.mark.parametrize("file", ["https://evil.example/x", "//evil.example/x", "x"])
def test_no_answer_leads_a_client_elsewhere(tmp_path: Path, file: str) -> None:
    """It would be asked there with the token."""
    transport = _Parts(_told(file=file))
    with pytest.raises(NoAnswerError, match="no path of the service"):
        _client(transport).export("x", 0, tmp_path / "m.onnx")
    assert {one.url.host for one in transport.asked} == {"service"}
