"""Experiments over REST: launched once, listed in pages, cancelled, resumed and removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from fastapi.testclient import TestClient

from bitfront.experiments.places import experiment_folder
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment, Progress
from bitfront.experiments.store.statuses import Status

Refused = Callable[[httpx.Response, int], dict[str, Any]]
SPEC = {"space": "digits", "data": "digits", "device": "bitfusion", "seed": 3}
PLACE = "/api/v1/experiments"


def test_json_and_yaml_launch_the_same(api: TestClient, store: Store) -> None:
    ids = []
    for kind, body in (("application/json", None), ("application/yaml", yaml.safe_dump(SPEC))):
        answer = (
            api.post(PLACE, json=SPEC)
            if body is None
            else api.post(PLACE, content=body, headers={"Content-Type": kind})
        )
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"{PLACE}/{answer.json()['id']}"
        assert answer.json()["status"] == "QUEUED"
        ids.append(answer.json()["id"])
    first, second = map(store.get, ids)
    assert first.id != second.id
    assert first.spec == second.spec
    assert first.seed == 3


def test_a_launch_asked_twice_is_one(api: TestClient, store: Store, refused: Refused) -> None:
    headers = {"Idempotency-Key": "k1"}
    ids = {api.post(PLACE, json=SPEC, headers=headers).json()["id"] for _ in range(3)}
    assert len(ids) == 1
    assert len(store.list_experiments().items) == 1
    refused(api.post(PLACE, json={**SPEC, "seed": 4}, headers=headers), 409)
    refused(api.post(PLACE, json=SPEC, headers={"Idempotency-Key": "a b"}), 422)
    refused(api.post(PLACE, json=SPEC, headers={"Idempotency-Key": "k" * 201}), 422)
    assert len(store.list_experiments().items) == 1


def test_pages_list_everything_once(api: TestClient, store: Store, spec: dict[str, Any], refused: Refused) -> None:
    made = [store.create_experiment("one", spec, 0).id for _ in range(5)]
    found, cursor = [], None
    while True:
        page = api.get(PLACE, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == made[::-1]
    assert api.get(PLACE, params={"status": "RUNNING"}).json()["items"] == []
    refused(api.get(PLACE, params={"cursor": "nonsense"}), 422)
    refused(api.get(PLACE, params={"limit": 0}), 422)


def test_details_have_all_but_paths(api: TestClient, done: Experiment, settings: Settings) -> None:
    answer = api.get(f"{PLACE}/{done.id}")
    found = answer.json()
    assert found["search"]["generations"] == 2
    assert found["search"]["candidates"] == 6
    assert found["search"]["hypervolume"] == pytest.approx(0.5)
    assert found["search"]["reference"] == {"1 - top1": 0.44, "latency_ms": 1.1}
    assert found["front"] == {"measured": 3, "not_dominated": 2}
    assert found["table_ids"] == {"host-onnxruntime": "table"}
    assert [one["kind"] for one in found["predictors"]] == ["fp32", "transferred"]
    assert str(settings.home) not in answer.text


def test_an_unknown_one_is_told_with_the_nearest(api: TestClient, done: Experiment, refused: Refused) -> None:
    wrong = done.id[:-1] + ("0" if done.id[-1] != "0" else "1")
    error = refused(api.get(f"{PLACE}/{wrong}"), 404)
    assert error["type"] == "UnknownNameError"
    assert done.id in error["fix"]


def test_cancel_and_resume(
    api: TestClient, store: Store, spec: dict[str, Any], done: Experiment, refused: Refused
) -> None:
    one = store.create_experiment("one", spec, 0)
    assert api.post(f"{PLACE}/{one.id}/cancel").json()["status"] == "CANCELLED"
    assert api.post(f"{PLACE}/{one.id}/cancel").json()["status"] == "CANCELLED"
    assert api.post(f"{PLACE}/{one.id}/resume").json()["status"] == "QUEUED"
    assert api.post(f"{PLACE}/{one.id}/resume").status_code == 202
    store.claim(one.id)
    assert api.post(f"{PLACE}/{one.id}/cancel").json()["status"] == "CANCELLING"
    refused(api.post(f"{PLACE}/{done.id}/cancel"), 409)
    refused(api.post(f"{PLACE}/{done.id}/resume"), 409)


def test_progress_is_told(api: TestClient, store: Store, spec: dict[str, Any]) -> None:
    one = store.create_experiment("one", spec, 0)
    store.claim(one.id)
    store.heartbeat(one.id, progress=Progress("training", 3, 62))
    assert api.get(f"{PLACE}/{one.id}").json()["progress"] == {"label": "training", "done": 3, "total": 62}


def test_delete_takes_the_files_too(
    api: TestClient, store: Store, done: Experiment, settings: Settings, refused: Refused
) -> None:
    folder = experiment_folder(settings.home, done.id)
    assert folder.is_dir()
    assert api.delete(f"{PLACE}/{done.id}").json() == {"done": True}
    assert not folder.exists()
    refused(api.get(f"{PLACE}/{done.id}"), 404)


def test_a_running_one_is_not_deleted(
    api: TestClient, store: Store, spec: dict[str, Any], refused: Refused
) -> None:
    one = store.create_experiment("one", spec, 0)
    store.claim(one.id)
    refused(api.delete(f"{PLACE}/{one.id}"), 409)
    assert store.get(one.id).status is Status.RUNNING


def test_the_log_is_read_part_by_part(
    api: TestClient, done: Experiment, settings: Settings, refused: Refused
) -> None:
    path = experiment_folder(settings.home, done.id) / "log.txt"
    path.write_text("äöü\n" * 400_000)
    parts, offset = [], 0
    while True:
        answer = api.get(f"{PLACE}/{done.id}/log", params={"offset": offset})
        if answer.headers["X-Next-Offset"] == str(offset):
            break
        parts.append(answer.content)
        offset = int(answer.headers["X-Next-Offset"])
    assert len(parts) > 2
    assert b"".join(parts) == path.read_bytes()  # no character is cut in two
    path.unlink()
    refused(api.get(f"{PLACE}/{done.id}/log"), 404)


def test_a_character_that_is_not_written_yet_is_told_later(
    api: TestClient, done: Experiment, settings: Settings
) -> None:
    path = experiment_folder(settings.home, done.id) / "log.txt"
    path.write_bytes(b"a\xe2\x82")
    answer = api.get(f"{PLACE}/{done.id}/log")
    assert (answer.text, answer.headers["X-Next-Offset"]) == ("a", "1")
    path.write_bytes(b"a\xe2\x82\xac \xff")
    answer = api.get(f"{PLACE}/{done.id}/log", params={"offset": 1})
    assert (answer.text, answer.headers["X-Next-Offset"]) == ("\u20ac \ufffd", "6")


def test_a_cancel_that_a_worker_overtakes_is_still_one(
    api: TestClient, store: Store, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its status and the change of it, somebody claims it."""
    one = store.create_experiment("one", spec, 0)
    inner, looks = store.get, iter([True])

    def get(experiment_id: str) -> Experiment:
        found = inner(experiment_id)
        if next(looks, False):
            store.claim(experiment_id)
        return found

    monkeypatch.setattr(store, "get", get)
    answer = api.post(f"{PLACE}/{one.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "CANCELLING")
