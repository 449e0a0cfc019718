"""Launching an experiment in the page, with its script and without."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import html5lib
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.specs import MOST_YAML
from bitfront.experiments.spec import spec_from
from bitfront.experiments.spec_yaml import read_mapping
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import StorageError

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


def test_what_was_changed_in_a_field_is_not_launched_unseen(client: TestClient, store: Store) -> None:
    form = _form(client.get("/experiments/new").text)
    assert form["search.generations"] == ""
    answer = client.post("/experiments/new", data={**form, "search.generations": "7", "seed": "5"})
    assert answer.status_code == 200
    assert store.list_experiments().items == ()
    assert "nothing is launched yet" in answer.text
    again = _form(answer.text)
    assert (again["search.generations"], again["seed"]) == ("7", "5")
    assert "generations: 7" in again["yaml"]
    assert client.post("/experiments/new", data=again, follow_redirects=False).status_code == 303
    (experiment,) = store.list_experiments().items
    assert (experiment.spec["search"]["generations"], experiment.seed) == (7, 5)


def test_a_changed_yaml_is_not_undone_by_fields_that_are_older(client: TestClient, store: Store) -> None:
    form = _form(client.get("/experiments/new").text)
    form["yaml"] = GOOD
    assert client.post("/experiments/new", data=form, follow_redirects=False).status_code == 303
    (experiment,) = store.list_experiments().items
    assert (experiment.spec["name"], experiment.spec["search"]["generations"]) == ("mine", 3)
    both = {**form, "search.population": "12"}
    answer = client.post("/experiments/new", data=both)
    assert len(store.list_experiments().items) == 1
    assert "generations: 3" in _yaml(answer.text)
    assert "population: 12" in _yaml(answer.text)


def test_with_its_script_the_yaml_alone_counts(client: TestClient, store: Store) -> None:
    form = _form(client.get("/experiments/new").text)
    del form["before"]
    form |= {"in_step": "x", "seed": "9", "yaml": GOOD}
    assert client.post("/experiments/new", data=form, follow_redirects=False).status_code == 303
    assert store.list_experiments().items[0].seed == 0


def test_fields_are_kept_where_something_is_wrong(client: TestClient, store: Store) -> None:
    form = _form(client.get("/experiments/new").text) | {"seed": "5", "search.population": "[1"}
    broken = client.post("/experiments/new", data={**form, "yaml": "a: ["})
    assert (broken.status_code, _form(broken.text)["seed"]) == (422, "5")
    assert _yaml(broken.text).strip() == "a: ["
    wrong = client.post("/experiments/new", data=form)
    assert (wrong.status_code, _form(wrong.text)["search.population"]) == (422, "[1")
    assert store.list_experiments().items == ()


@pytest.mark.parametrize("button", [{}, {"from_fields": "1"}])
def test_a_yaml_that_is_too_long_is_told_on_the_page(
    client: TestClient, store: Store, button: dict[str, str]
) -> None:
    answer = client.post("/experiments/new", data={"yaml": "#" + "x" * 200_000, **button})
    assert answer.status_code == 422
    assert f"{MOST_YAML:,} are the most" in answer.text
    assert store.list_experiments().items == ()


def test_fields_are_taken_into_the_yaml_without_script(client: TestClient, store: Store) -> None:
    form = {
        "yaml": GOOD,
        "from_fields": "1",
        "space.name": "digits",
        "data.name": "digits",
        "device.name": "bitfusion",
        "search.generations": "",
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
    assert spec_from(read_mapping(text, "x")) == spec_from(given)


_SPACE = """\
family: mbconv
stem_channels: 8
stem_stride: 1
stages: [{out_channels: 8, stride: 1, depths: [1, 2], widths: [8, 16]}]
head_channels: 16
resolutions: [8]
weight_formats: [fp32, int8]
activation_formats: [fp32, int8]
end_formats: [fp32, int8]
"""
_LIKE: tuple[dict[str, Any], ...] = (
    {"name": "experiment"},
    {"name": "digits", "supernet": {"augment": False}},
    {"search": {"insist": False, "islands": 3}, "front": {"measure": 1}},
    {"constraints": ["top1 >= 0.9"], "fixed": {"*.kernel": [3]}, "objectives": ["top1", "macs"]},
    {"data": {"name": "digits", "augmentation": {"mixup": 0.5, "flip": True}}, "supernet": {"pretrained": False}},
)


@pytest.mark.parametrize("given", _LIKE)
def test_one_like_another_is_the_same_whatever_was_given(
    client: TestClient, store: Store, given: dict[str, Any]
) -> None:
    whole = spec_from({"space": "digits", "data": "digits", "device": "bitfusion", **given})
    experiment = store.create_experiment("first", whole.as_json(), 0)
    text = _yaml(client.get(f"/experiments/new?like={experiment.id}").text)
    assert spec_from(read_mapping(text, "x")) == whole


def test_one_like_another_has_the_space_that_was_read_from_a_file(
    client: TestClient, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(_SPACE)
    given = {"space": str(tmp_path / "own.yaml"), "data": "digits", "device": "bitfusion"}
    whole = spec_from(given, folder=tmp_path)
    experiment = store.create_experiment("first", whole.as_json(), 0)
    (tmp_path / "own.yaml").unlink()
    text = _yaml(client.get(f"/experiments/new?like={experiment.id}").text)
    assert spec_from(read_mapping(text, "x")) == whole
    launched = client.post("/experiments/new", data={"yaml": text}, follow_redirects=False)
    assert launched.status_code == 303
    assert store.list_experiments().items[0].spec["space"]["content"] == experiment.spec["space"]["content"]


def _form(page: str) -> dict[str, str]:
    """What a browser without scripts would send with `Launch`."""
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    form = next(one for one in tree.iter("form") if one.get("id") == "spec")
    sent = {}
    for one in form.iter():
        name = one.get("name")
        if name and one.tag == "input":
            sent[name] = one.get("value", "")
        elif name and one.tag == "textarea":
            sent[name] = "".join(one.itertext())
        elif name and one.tag == "select":
            options = list(one.iter("option"))
            chosen = next((option for option in options if option.get("selected") is not None), options[0])
            sent[name] = chosen.get("value", "".join(chosen.itertext()))
    return {name: text.replace("\n", "\r\n") for name, text in sent.items()}


def _yaml(page: str) -> str:
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def _error(page: str, field: str) -> str:
    found = re.search(rf'id="{field}-error">(.*?)</p>', page, re.DOTALL)
    assert found is not None
    return unescape(found[1])


@pytest.mark.parametrize("yaml", ['name: "\\ud800"', '"\\ud800": 1', 'name: "\\0"'])
def test_half_characters_are_told_wherever_they_come_in(client: TestClient, store: Store, yaml: str) -> None:
    for more in ({}, {"from_fields": "1"}):
        assert client.post("/experiments/new", data={"yaml": yaml, **more}).status_code == 422
    answer = client.post("/experiments/new/check", json={"yaml": yaml})
    assert (answer.status_code, answer.json()["taken"]) == (200, False)
    assert "half a character" in answer.text
    body = b'{"yaml": "name: mine", "fields": {"name": "a\\ud800", "\\ud800": "b"}}'
    answer = client.post("/experiments/new/check", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422)
    assert not store.list_experiments().items


def test_trouble_of_the_service_is_not_told_as_the_spec_s(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("can not write /srv/secret/bitfront.sqlite: disk full")

    monkeypatch.setattr("bitfront.experiments.web.new_page.create", full)
    answer = client.post("/experiments/new", data={"yaml": GOOD}, headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert "/srv/secret" not in answer.text
