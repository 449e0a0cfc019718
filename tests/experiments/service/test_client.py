"""The client: the service's verbs with types, errors as they were, and no second try that could do harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.client import Client, NoAnswerError
from bitfront.experiments.client_errors import ApiError
from bitfront.experiments.spec_errors import SpecError
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.records import Experiment, ExportRecord
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError, UnknownNameError

SPEC = {"space": "digits", "data": "digits", "device": "bitfusion"}


@pytest.fixture
def client(api: TestClient) -> Iterator[Client]:
    """A client of the service."""
    with Client("http://127.0.0.1:8317", transport=api._transport, sleep=lambda _: None) as made:
        yield made


def test_an_experiment_from_launch_to_end(client: Client, store: Store) -> None:
    one = client.launch(SPEC)
    assert one.status is Status.QUEUED
    assert [found.id for found in client.ls(Status.QUEUED)] == [one.id]
    assert client.cancel(one.id).status is Status.CANCELLED
    assert client.resume(one.id).status is Status.QUEUED
    assert client.get(one.id).spec == store.get(one.id).spec
    client.cancel(one.id)
    client.delete(one.id)
    assert list(client.ls()) == []


def test_a_file_is_launched_and_checked(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("space: digits\ndata: digits\ndevice: bitfusion\nseed: 7\n")
    assert client.launch_file(path).seed == 7
    assert client.check(SPEC).spec["seed"] == 0


def test_results_are_typed(client: Client, done: Experiment) -> None:
    front = client.front(done.id, "measured_top1 >= 0.9")
    assert [row.candidate for row in front.items] == [0, 1]
    assert front.items[0].measured["top1"] == 0.95
    assert [one.candidate for one in client.candidates(done.id, order="-id")] == [5, 4, 3, 2, 1, 0]
    assert client.candidate(done.id, 1).layers[0].weight_bits > 0
    assert client.hypervolume(done.id).generations[-1].hypervolume == 0.5
    assert client.importances(done.id).candidates == 6
    assert client.compare([done.id]).items[0].experiment_id == done.id
    assert client.log(done.id).startswith("2026")
    assert "bitfusion" in {one.name for one in client.devices()}
    assert client.device("bitfusion").kind == "modelled"
    assert [one.id for one in client.tables()] == ["table"]
    assert [one.id for one in client.predictors()] == ["real", "moved"]
    assert [event.kind for event in client.watch(done.id)][-1] == "end"


def test_errors_are_what_they_were(client: Client, done: Experiment) -> None:
    with pytest.raises(UnknownNameError, match="unknown experiment 'nobody'") as caught:
        client.get("nobody")
    assert isinstance(caught.value, ApiError)
    assert caught.value.status == 404
    with pytest.raises(StatusError):
        client.cancel(done.id)
    with pytest.raises(SpecError, match="population") as wrong:
        client.launch({**SPEC, "search": {"population": 1}})
    assert wrong.value.problems[0].path == "search.population"
    with pytest.raises(BitfrontError):
        client.candidate(done.id, 99)


def test_an_export_is_fetched_and_checked(
    client: Client, store: Store, done: Experiment, tmp_path: Path, api: TestClient
) -> None:
    import hashlib

    content = b"a model" * 1000
    file = tmp_path / "made.onnx"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    store.put_export(done.id, ExportRecord(0, "onnx", str(file), digest, 0.9))
    listed = client.exports(done.id)
    assert [(one.candidate, one.state, one.size_bytes) for one in listed] == [(0, "ready", len(content))]
    answer = api.get(str(listed[0].file))
    assert answer.content == content
    assert answer.headers["X-Content-SHA256"] == digest
    assert answer.headers["Content-Disposition"].startswith("attachment")
    file.write_bytes(b"another model")
    assert api.get(str(listed[0].file)).status_code == 409
    file.unlink()
    assert api.get(str(listed[0].file)).status_code == 404
    assert client.exports(done.id)[0].state == "failed"


def test_what_can_not_be_exported_is_told(client: Client, done: Experiment, tmp_path: Path) -> None:
    for candidate, device in ((99, ""), (0, "nowhere")):
        with pytest.raises(UnknownNameError):
            client.export(done.id, candidate, tmp_path / "m.onnx", device)
    assert not (tmp_path / "m.onnx").exists()


class _Flaky(httpx.BaseTransport):
    """Answers ``statuses`` one after the other; None breaks the connection."""

    def __init__(self, *statuses: int | None) -> None:
        self.left = list(statuses)
        self.keys: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        status = self.left.pop(0)
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        error: dict[str, Any] = {"type": "UnavailableError", "message": "m", "rule": "r", "fix": "f", "where": "w"}
        content: dict[str, Any] = {"items": []} if status == 200 else {"error": error}
        return httpx.Response(status, json=content, headers={"Retry-After": "3"}, request=request)


def _over(transport: _Flaky, waits: list[float]) -> Client:
    return Client("http://service", transport=transport, sleep=waits.append)


def test_reading_is_tried_again_after_a_while() -> None:
    waits: list[float] = []
    assert _over(_Flaky(None, 503, 429, 200), waits).devices() == []
    assert waits == [0.4, 3.0, 3.0]
    with pytest.raises(NoAnswerError, match="does not answer"):
        _over(_Flaky(None, None, None, None), []).devices()
    with pytest.raises(ApiError):
        _over(_Flaky(503, 503, 503, 503), []).devices()


def test_launching_is_tried_again_with_one_key() -> None:
    transport = _Flaky(None, 503, 503, 503)
    with pytest.raises(ApiError):
        _over(transport, []).launch(SPEC)
    assert len(transport.keys) == 4
    assert len(set(transport.keys)) == 1
    assert transport.keys[0]


def test_what_may_do_harm_is_asked_once() -> None:
    verbs: list[Callable[[Client], object]] = [lambda one: one.resume("x"), lambda one: one.delete("x")]
    for verb in verbs:
        transport = _Flaky(None)
        with pytest.raises(NoAnswerError):
            verb(_over(transport, []))
        assert len(transport.keys) == 1


def test_what_is_no_bitfront_is_told() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500, text="<html>"))
    with pytest.raises(NoAnswerError, match="check the URL"):
        Client("http://service", transport=transport).devices()


@pytest.mark.slow
def test_an_export_that_fails_is_told(client: Client, done: Experiment, tmp_path: Path) -> None:
    """The made-up supernet has no weights, which only the export's own process sees."""
    with pytest.raises(BitfrontError, match="was not exported"):
        client.export(done.id, 1, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
