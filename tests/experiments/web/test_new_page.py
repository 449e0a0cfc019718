"""Launching an experiment in the page, with its script and without."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status

GOOD = "name: mine\nspace: digits\ndata: digits\ndevice: bitfusion\nsearch: {generations: 3}\n"


def test_yaml_launches_without_script(client: TestClient, store: Store) -> None:
    answer = client.post("/experiments/new", data={"yaml": GOOD.replace("\n", "\r\n")}, follow_redirects=False)
    assert answer.status_code == 303
    (experiment,) = store.list_experiments().items
    assert answer.headers["location"] == f"/experiments/{experiment.id}"
    assert experiment.status is Status.QUEUED
    assert experiment.spec["search"]["generations"] == 3
    assert client.get(answer.headers["location"]).status_code == 200


def test_errors_stand_at_their_fields_and_nothing_is_launched(client: TestClient, store: Store) -> None:
    text = GOOD.replace("bitfusion", "bitfuson").replace("generations: 3", "population: 1, stratgy: nsga2")
    answer = client.post("/experiments/new", data={"yaml": text})
    assert answer.status_code == 422
    assert store.list_experiments().items == ()
    assert _error(answer.text, "f-search-population").startswith("search.population: must be at least 2")
    assert "did you mean" in _error(answer.text, "f-device-name") or "search.stratgy" in answer.text
    assert re.search(r'id="f-search-population"[^>]*aria-invalid="true"', answer.text)
    assert 'role="alert"' in answer.text
    assert text.strip() in unescape(answer.text)  # what was written is not lost


@pytest.mark.parametrize("text", ["a: [", "- a", "*x", "a: 1\na: 2", "\x00", "space: !!python/name:os.system"])
def test_what_is_no_spec_is_an_error_at_the_yaml(client: TestClient, store: Store, text: str) -> None:
    answer = client.post("/experiments/new", data={"yaml": text})
    assert answer.status_code == 422
    assert store.list_experiments().items == ()


def test_a_spec_from_elsewhere_names_no_file_here(client: TestClient, store: Store) -> None:
    text = "space: digits\ndata: {kind: npz, path: /etc/passwd}\ndevice: bitfusion\n"
    answer = client.post("/experiments/new", data={"yaml": text})
    assert answer.status_code == 422
    assert "--data-folder" in answer.text
    assert store.list_experiments().items == ()


def test_fields_are_taken_into_the_yaml_without_script(client: TestClient, store: Store) -> None:
    form = {
        "yaml": GOOD,
        "from_fields": "1",
        "space.name": "digits",
        "data.name": "digits",
        "device.name": "bitfusion",
    }
    answer = client.post("/experiments/new", data={**form, "search.population": "12", "name": "of fields"})
    assert answer.status_code == 200
    text = _yaml(answer.text)
    assert "population: 12" in text
    assert "name: of fields" in text
    assert "generations" not in text  # its field was left empty
    assert store.list_experiments().items == ()


def test_fields_and_yaml_are_kept_in_step(client: TestClient) -> None:
    answer = client.post("/experiments/new/check", json={"yaml": GOOD}).json()
    assert answer["problems"] == []
    assert answer["fields"]["search.generations"] == "3"
    fields = {**answer["fields"], "search.generations": "0", "seed": "5"}
    answer = client.post("/experiments/new/check", json={"yaml": GOOD, "fields": fields}).json()
    assert "seed: 5" in answer["yaml"]
    assert [one["field"] for one in answer["problems"]] == ["search.generations"]
    # Fields that were not changed do not undo what was written in the YAML meanwhile.
    answer = client.post("/experiments/new/check", json={"yaml": GOOD, "fields": {"seed": "6"}}).json()
    assert (answer["fields"]["search.generations"], answer["fields"]["seed"], answer["taken"]) == ("3", "6", True)
    broken = client.post("/experiments/new/check", json={"yaml": "a: [", "fields": fields}).json()
    assert not broken["taken"]
    assert broken["yaml"] == "a: ["  # never overwritten by fields
    assert [one["field"] for one in broken["problems"]] == ["yaml"]


def test_too_much_is_refused(client: TestClient) -> None:
    assert client.post("/experiments/new/check", json={"yaml": "x" * 300_000}).status_code == 422
    assert client.post("/experiments/new", data={"yaml": "x" * 2_000_000}).status_code == 413


def test_one_like_another_asks_for_the_same(client: TestClient, store: Store, spec: dict[str, Any]) -> None:
    given = {**spec, "search": {**spec["search"], "population": 33}, "constraints": ["latency_ms <= 2"]}
    experiment = store.create_experiment("first", given, 0)
    text = _yaml(client.get(f"/experiments/new?like={experiment.id}").text)
    assert "population: 33" in text
    assert "kind: mlp" not in text  # defaults are left out
    from bitfront.experiments.spec_yaml import read_mapping

    assert spec_from(read_mapping(text, "x")) == spec_from(given)


def _yaml(page: str) -> str:
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def _error(page: str, field: str) -> str:
    found = re.search(rf'id="{field}-error">(.*?)</p>', page, re.DOTALL)
    assert found is not None
    return unescape(found[1])
