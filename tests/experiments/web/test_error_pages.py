"""Errors as who asks reads them: pages for people, the one JSON form for programs."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.app import create_app
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.web import experiments_page, page_route
from bitfront.experiments.web.experiment_page import log_tail

PEOPLE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROGRAMS: tuple[dict[str, str], ...] = ({"Accept": "application/json"}, {"Accept": "*/*"}, {})


@pytest.mark.parametrize(
    ("method", "path", "status", "heading"),
    [
        ("GET", "/nothing", 404, "Not found"),
        ("GET", "/experiments/", 404, "Not found"),
        ("PUT", "/experiments", 405, "That does not go here"),
        ("GET", "/static/0/nothing.js", 404, "Not found"),
    ],
)
def test_people_get_a_page_and_programs_the_one_form(
    client: TestClient, method: str, path: str, status: int, heading: str
) -> None:
    answer = client.request(method, path, headers=PEOPLE)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{heading}</h1>" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for headers in PROGRAMS:
        told = client.request(method, path, headers=headers)
        assert told.status_code == status
        assert told.json()["error"]["rule"]
        assert told.json()["error"]["rule"] in unescape(answer.text)
        assert told.headers.get("allow") == answer.headers.get("allow")


def test_the_interface_for_programs_has_no_pages(client: TestClient) -> None:
    answer = client.get("/api/v1/nothing", headers=PEOPLE)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")


def test_what_is_too_large_is_told_on_a_page(client: TestClient) -> None:
    answer = client.post("/experiments/new", content=b"x" * 2_000_000, headers=PEOPLE)
    assert answer.status_code == 413
    assert "<h1>Too large</h1>" in answer.text


def test_what_nobody_expected_is_a_page_that_names_its_place_in_the_log(
    client: TestClient, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(experiments_page, "best_so_far", broken)
    answer = client.get("/experiments", headers=PEOPLE)
    assert answer.status_code == 500
    assert "<h1>Something went wrong</h1>" in answer.text
    assert "in the service" in answer.text
    assert "secret words" not in answer.text
    told = client.get("/experiments").json()["error"]
    assert told["id"] in told["fix"]


def test_where_pages_are_broken_the_one_form_is_left(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no template")

    monkeypatch.setattr(page_route, "page", broken)
    answer = client.get("/nothing", headers=PEOPLE)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")


def test_who_asks_too_often_is_told_when_to_come_back(home: Path, store: Store) -> None:
    settings = Settings(home=home, trust_everyone=True, reads_per_second=1.0)
    with TestClient(create_app(settings, store), base_url="http://localhost") as client:
        answers = [client.get("/devices/nothing", headers=PEOPLE) for _ in range(200)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert refused[0].headers["content-type"].startswith("text/html")
    assert int(refused[0].headers["retry-after"]) >= 1


def test_the_head_of_every_page_can_be_asked_for(client: TestClient, pages: list[str]) -> None:
    for path in [*pages, "/static/0/bitfront.css"]:
        if "/genes" in path:
            continue
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"]), path


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("one\ntwo\n", "one\ntwo\n"),
        ("x" * 40_000, "x" * 16_384),
        ("first\n" + "x" * 40_000 + "\n", "x" * 16_383 + "\n"),
        ("x" * 40_000 + "\nlast\n", "last\n"),
    ],
)
def test_the_end_of_a_log_is_shown_whatever_its_lines_are(tmp_path: Path, content: str, wanted: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(content)
    assert log_tail(path) == wanted
