"""News as server-sent events: state when it changes, every generation once, also after a broken connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.events import News, Streams, seen_until
from bitfront.experiments.service.refusals import RateLimitError
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import CandidateBatch, Experiment, Generation, Progress
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.spaces import SPACES

Refused = Callable[[httpx.Response, int], dict[str, Any]]


def _parsed(text: str) -> list[tuple[str, Any, str | None]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def test_one_that_is_over_is_told_whole_and_ends(api: TestClient, done: Experiment) -> None:
    answer = api.get(f"/api/v1/experiments/{done.id}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found = _parsed(answer.text)
    assert [name for name, _, _ in found] == ["generation", "generation", "status", "stage", "end"]
    assert [value["hypervolume"] for name, value, _ in found if name == "generation"] == [0.4, 0.5]
    assert [number for name, _, number in found if name == "generation"] == ["g0", "g1"]
    assert found[-1][1] == {"status": "COMPLETED"}


@pytest.mark.parametrize(("last", "indices"), [("g0", [1]), ("g1", []), ("nonsense", [0, 1]), ("g-1", [0, 1])])
def test_who_comes_back_gets_what_is_missing(
    api: TestClient, done: Experiment, last: str, indices: list[int]
) -> None:
    answer = api.get(f"/api/v1/experiments/{done.id}/events", headers={"Last-Event-ID": last})
    assert [value["index"] for name, value, _ in _parsed(answer.text) if name == "generation"] == indices


def test_news_are_only_what_is_new(store: Store, spec: dict[str, Any]) -> None:
    one = store.create_experiment("one", spec, 0)
    news = News(store, one.id, seen_until(None))
    assert [name for name, _, _ in _parsed("".join(news.ask()))] == ["status", "stage"]
    assert news.ask() == []
    store.claim(one.id)
    store.heartbeat(one.id, progress=Progress("training", 1, 2))
    assert [name for name, _, _ in _parsed("".join(news.ask()))] == ["status", "progress"]
    space = SPACES.get("digits")()
    genomes = space.sample(2, np.random.default_rng(0))
    batch = CandidateBatch(genomes, {"top1": np.array([0.5, 0.6])})
    store.add_generation(one.id, Generation(0, 2, 0.1), batch, genomes[:1], {})
    assert [name for name, _, _ in _parsed("".join(news.ask()))] == ["generation"]
    store.set_status(one.id, Status.FAILED, "no memory")
    assert _parsed("".join(news.ask()))[-1] == ("end", {"status": "FAILED"}, "g0")
    assert news.over


def test_a_stream_of_one_that_waits_ends_in_time(api: TestClient, store: Store, spec: dict[str, Any]) -> None:
    one = store.create_experiment("one", spec, 0)
    found = _parsed(api.get(f"/api/v1/experiments/{one.id}/events").text)
    assert [name for name, _, _ in found] == ["status", "stage"]


def test_unknown_ones_have_no_news(api: TestClient, refused: Refused) -> None:
    refused(api.get("/api/v1/experiments/nobody/events"), 404)


def test_streams_are_counted(
    serve: Callable[[Settings], TestClient], settings: Settings, done: Experiment, refused: Refused
) -> None:
    none = serve(replace(settings, most_streams=0))
    assert refused(none.get(f"/api/v1/experiments/{done.id}/events"), 429)["type"] == "RateLimitError"
    streams = Streams(1, none.app.state.service.metrics.streams)  # type: ignore[attr-defined]
    with streams.counted(), pytest.raises(RateLimitError):
        streams.check()
    streams.check()


def test_one_reader_does_not_take_all_streams(
    serve: Callable[[Settings], TestClient], settings: Settings, done: Experiment, refused: Refused
) -> None:
    client: Any = serve(settings)
    streams = Streams(3, client.app.state.service.metrics.streams, each=2)
    with streams.counted("a"), streams.counted("a"):
        with pytest.raises(RateLimitError, match="you have 2 streams"):
            streams.check("a")
        streams.check("b")
        with streams.counted("b"), pytest.raises(RateLimitError, match="as many streams"):
            streams.check("c")
    streams.check("a")
    none = serve(replace(settings, most_streams_each=0))
    assert "you have" in refused(none.get(f"/api/v1/experiments/{done.id}/events"), 429)["rule"]
