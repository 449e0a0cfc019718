"""Every page: that it is there, what it says, and what it must never have in it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import html5lib
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.bundle.forms import format_names
from bitfront.experiments.service.tokens import new_token
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status

HOSTILE = "<script>alert('x')</script>\"'&{{7*7}}"
_ELSEWHERE = re.compile(r"""(?:src|href|action|poster|data)\s*=\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


def test_every_page_is_there_and_is_valid_html(texts: dict[str, str]) -> None:
    for path, text in texts.items():
        parser = html5lib.HTMLParser()
        parser.parse(text)
        assert parser.errors == [], (path, parser.errors[:5])
        assert "<h1>Something went wrong" not in text, path


def test_no_page_names_another_host_or_has_code_in_it(texts: dict[str, str], client: TestClient) -> None:
    policy = client.get("/devices").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for path, text in texts.items():
        assert not _ELSEWHERE.search(text), path
        # What the policy would refuse must not be there.
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path


def test_all_that_pages_load_is_there(client: TestClient, pages: list[str]) -> None:
    wanted = {
        link for path in pages for link in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(path).text)
    }
    assert any(link.endswith("scatter.js") for link in wanted)
    for link in wanted:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", ["../pages.py", "..%2fpages.py", "pages.py", "nothing.js", "%2e%2e/assets.py"])
def test_nothing_but_the_files_for_pages_is_sent(client: TestClient, name: str) -> None:
    assert client.get(f"/static/0/{name}").status_code == 404


def test_a_file_is_packed_for_who_takes_that(client: TestClient) -> None:
    plain = client.get("/static/0/bitfront.css", headers={"Accept-Encoding": "identity"})
    packed = client.get("/static/0/bitfront.css", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text
    assert plain.headers["cache-control"] == "no-cache"  # the address says nothing true of the content


def test_links_between_pages_lead_somewhere(client: TestClient, found: str, pages: list[str]) -> None:
    # Ids are made up anew for every test.
    texts = [client.get(path).text for path in pages if found in path or path == "/experiments"]
    links = {link for text in texts for link in re.findall(r'href="(/[^"#]*)', text)}
    wrong = [link for link in links if client.get(link.replace("&amp;", "&")).status_code != 200]
    assert wrong == []


def test_names_from_elsewhere_are_escaped(client: TestClient, store: Store, spec: dict[str, Any]) -> None:
    experiment = store.create_experiment("hostile", {**spec, "name": HOSTILE}, 0)
    store.set_status(experiment.id, Status.CANCELLED, HOSTILE)
    for path in (
        "/experiments",
        f"/experiments/{experiment.id}",
        "/compare",
        f"/experiments/new?like={experiment.id}",
    ):
        text = client.get(path).text
        assert "<script>alert" not in text, path
        assert "{{7*7}}" in text or path == "/compare"  # as text, not as a template


def test_a_hostile_log_and_search_path_are_escaped(client: TestClient, found: str, home: Path) -> None:
    (home / "experiments" / found / "log.txt").write_text(f"line {HOSTILE}\n")
    assert "<script>alert" not in client.get(f"/experiments/{found}").text
    for path in (f"/experiments/{HOSTILE}", f"/predictors/{HOSTILE}", f"/sign-in?next={HOSTILE}"):
        answer = client.get(path)
        assert "<script>alert" not in answer.text
        assert answer.status_code in (200, 404, 422)


def test_what_is_not_there_is_a_page_with_the_nearest_name(client: TestClient, found: str) -> None:
    answer = client.get(f"/experiments/{found[:-1]}x")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Not found" in answer.text
    assert found in answer.text
    assert client.get(f"/experiments/{found}/candidates/99").status_code == 404
    assert client.get("/devices/nothing").status_code == 404
    assert client.get("/predictors/nothing").status_code == 404
    assert client.get("/compare?experiment=nothing").status_code == 404
    assert client.get("/compare?x=top1&y=top1").status_code == 422
    assert client.get("/compare?x=nothing").status_code in (200, 422)


def test_an_empty_home_has_pages_too(client: TestClient) -> None:
    for path in ("/experiments", "/experiments/new", "/compare", "/devices", "/predictors"):
        assert client.get(path).status_code == 200
    assert "Launch the first one" in client.get("/experiments").text


def test_first_page_leads_to_experiments(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert answer.headers["location"] == "/experiments"


def test_experiments_come_in_pages_by_status(
    client: TestClient, store: Store, spec: dict[str, Any], found: str
) -> None:
    for i in range(25):
        store.create_experiment(f"one{i}", spec, 0)
    first = client.get("/experiments").text
    older = re.search(r'href="(/experiments\?cursor=[^"]+)"', first)
    assert older is not None
    second = client.get(older[1].replace("&amp;", "&")).text
    ids = [re.findall(r'<th scope="row"><a href="/experiments/([^"]+)"', text) for text in (first, second)]
    assert len(ids[0]) == 20
    assert len(ids[1]) == 6
    assert found in ids[1]
    assert re.findall(
        r'row"><a href="/experiments/([^"]+)"', client.get("/experiments?status=COMPLETED").text
    ) == [found]
    assert client.get("/experiments?status=NOTHING").status_code == 422


def test_predicted_and_measured_stand_apart(client: TestClient, found: str) -> None:
    text = client.get("/experiments").text
    assert "95.00 % measured, 96.00 % predicted" in text
    rows = re.findall(r'<tr data-candidate="(\d+)".*?</tr>', client.get(f"/experiments/{found}").text, re.DOTALL)
    assert rows == ["0", "1", "2"]
    page = client.get(f"/experiments/{found}/candidates/0").text
    assert "96.00 %" in page
    assert "95.00 %" in page
    assert "94.00 %" in page
    unmeasured = client.get(f"/experiments/{found}/candidates/5").text
    assert "not measured" in unmeasured
    assert "60.00 %" in unmeasured


def test_the_filter_works_without_script(client: TestClient, found: str) -> None:
    text = client.get(f"/experiments/{found}?min.top1=92.5").text
    assert re.findall(r'data-candidate="(\d+)"', text) == ["0", "1"]
    assert "2 of 3 members" in text
    text = client.get(f"/experiments/{found}?max.size_bytes=25&min.top1=no").text  # in KiB, as the page shows them
    assert re.findall(r'data-candidate="(\d+)"', text) == ["2"]


def test_cancel_and_resume(client: TestClient, store: Store, spec: dict[str, Any]) -> None:
    experiment = store.create_experiment("queued", spec, 0)
    page = f"/experiments/{experiment.id}"
    assert 'action="/experiments/' in client.get(page).text
    answer = client.post(f"{page}/cancel", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    assert store.get(experiment.id).status is Status.CANCELLED
    assert "Resume" in client.get(page).text
    assert client.post(f"{page}/resume", follow_redirects=False).status_code == 303
    assert store.get(experiment.id).status is Status.QUEUED


def test_what_can_not_be_resumed_says_so(client: TestClient, store: Store, found: str) -> None:
    answer = client.post(f"/experiments/{found}/resume")
    assert answer.status_code == 409
    assert "That does not go now" in answer.text
    assert store.get(found).status is Status.COMPLETED


def test_other_sites_change_nothing(client: TestClient, store: Store, spec: dict[str, Any]) -> None:
    experiment = store.create_experiment("queued", spec, 0)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post(f"/experiments/{experiment.id}/cancel", headers=headers).status_code == 403
        assert client.post("/experiments/new", data={"yaml": "space: digits"}, headers=headers).status_code == 403
        assert client.post("/sign-in", data={"token": "x"}, headers=headers).status_code == 403
    assert store.get(experiment.id).status is Status.QUEUED


def test_with_tokens_a_browser_signs_in(
    client: TestClient, store: Store, spec: dict[str, Any], found: str
) -> None:
    reading, _ = new_token(store, "reader", ["read"])
    writing, _ = new_token(store, "writer", ["write"])
    page = f"/experiments/{found}"
    answer = client.get(page, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={page}")
    assert client.get(f"{page}/plot.json").status_code == 401
    wrong = client.post("/sign-in", data={"token": "bft_wrong", "next": page})
    assert wrong.status_code == 401
    assert "bft_wrong" not in wrong.text
    answer = client.post("/sign-in", data={"token": reading, "next": page}, follow_redirects=False)
    assert answer.headers["location"] == page
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "New experiment" not in client.get("/experiments").text  # a reader launches nothing
    assert client.get("/experiments/new").status_code == 403
    word = _word(client, page)
    client.post("/sign-out", data={"csrf_token": word})
    assert client.get(page, follow_redirects=False).status_code == 303
    client.post("/sign-in", data={"token": writing})
    queued = store.create_experiment("queued", spec, 0)
    place = f"/experiments/{queued.id}"
    assert client.post(f"{place}/cancel", data={"csrf_token": "guess"}).status_code == 403
    assert client.post(f"{place}/cancel", data={"csrf_token": _word(client, place)}).status_code == 200
    assert store.get(queued.id).status is Status.CANCELLED


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "https://evil.example", "/\\evil.example", "javascript:1", ""]
)
def test_signing_in_leads_to_own_pages_alone(client: TestClient, store: Store, path: str) -> None:
    token, _ = new_token(store, "me", ["read"])
    answer = client.post("/sign-in", data={"token": token, "next": path}, follow_redirects=False)
    assert answer.headers["location"] == "/experiments"


def _word(client: TestClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def test_an_export_in_progress_and_one_that_failed_are_told(
    client: TestClient, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitfront.experiments.service.jobs import Jobs

    asked: list[list[str]] = []
    monkeypatch.setattr(Jobs, "_command", _failing(asked))
    page = f"/experiments/{found}/candidates/1"
    assert re.findall(r'<option value="(\w+)"', client.get(page).text)[: len(format_names())] == format_names()
    answer = client.post(f"{page}/export", data={"format": "onnx"}, follow_redirects=False)
    assert answer.headers["location"] == f"{page}#export"
    for _ in range(100):
        text = client.get(page).text
        if "Failed: no room" in text:
            break
    assert "Failed: no room" in text
    assert asked[0][-1] == found
    assert 'name="samples" value="8" min="0"' in text
    assert '<option value="onnxruntime" selected>ONNX Runtime</option>' in text
    for wrong in ({"samples": "-1"}, {"samples": "1001"}, {"runtime": "tensorrt"}):
        assert client.post(f"{page}/export", data=wrong).status_code == 422
    assert client.post(f"{page}/export", data={"format": "pickle"}).status_code == 422


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"samples": "0"}, ["--samples=0"]),
        ({"samples": "8", "runtime": "openvino"}, ["--runtime=openvino", "--samples=8"]),
        ({"samples": "", "runtime": ""}, []),
    ],
)
def test_runtime_and_test_images_of_an_export_are_asked_for(
    client: TestClient, found: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], options: list[str]
) -> None:
    from bitfront.experiments.service.jobs import Jobs

    asked: list[list[str]] = []
    monkeypatch.setattr(Jobs, "_command", _failing(asked))
    client.post(f"/experiments/{found}/candidates/1/export", data={"format": "onnx", **given})
    for _ in range(100):
        if asked:
            break
        time.sleep(0.05)
    assert asked[0][:-2] == ["export", "--candidate=1", "--format=onnx", *options]


def _failing(asked: list[list[str]]) -> Callable[..., str]:
    from bitfront.experiments.service.jobs import JobError

    def command(_: object, arguments: list[str], __: object) -> str:
        asked.append(arguments)
        raise JobError("no room")

    return command


def test_an_export_whose_file_is_gone_offers_no_download(client: TestClient, found: str, home: Path) -> None:
    page = f"/experiments/{found}/candidates/0"
    assert "export it again" in client.get(page).text
    path = home / "experiments" / found / "exports" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"model")
    assert f"/api/v1/experiments/{found}/exports/0/file" in client.get(page).text


def test_a_device_per_experiment_and_tables_are_listed(client: TestClient, found: str) -> None:
    text = client.get("/devices").text
    assert "bitfusion" in text
    assert "host-onnxruntime" in text
    assert "/tmp" not in text
    assert str(found) not in text
