"""What pages say of where numbers are from: predicted, measured in the search or afterwards, on test images."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import html5lib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.networks import policy_owners
from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import CandidateBatch, Generation, Measurement
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.web import front_view
from bitfront.experiments.web.axes import NOTHING
from bitfront.search.shared_architecture import SharedArchitecture
from bitfront.supernet.spaces import SPACES

if TYPE_CHECKING:
    from playwright.sync_api import Page

Find = Callable[[Store, str], None]
_TOP1 = [0.96, 0.93, 0.92]


def _stored(
    store: Store, given: dict[str, Any], predicted: dict[str, list[float]], measured: list[Measurement]
) -> str:
    """A finished experiment of three candidates, all on the front."""
    spec = spec_from({"name": "one", "space": "digits", "data": "digits", **given}).as_json()
    one = store.create_experiment("one", spec, 0)
    store.claim(one.id)
    space, owners = SPACES.get("digits")(), policy_owners(spec)
    if owners:
        space = SharedArchitecture(dict.fromkeys(owners, space))
    genomes = space.sample(3, np.random.default_rng(0))
    batch = CandidateBatch(genomes, {name: np.array(values) for name, values in predicted.items()})
    state = {"objectives": spec["objectives"], "reference": np.ones(len(spec["objectives"]))}
    store.add_generation(one.id, Generation(0, 3, 0.5), batch, genomes, state)
    store.add_front_members(one.id, [each.candidate_id for each in measured])
    store.measure_front_members(one.id, measured)
    store.set_status(one.id, Status.COMPLETED)
    return one.id


@pytest.fixture
def searched(store: Store) -> str:
    """One whose search measured accuracies."""
    given = {"device": "host-onnxruntime", "search": {"accuracy": "measured"}}
    predicted = {"top1": _TOP1, "latency_ms": [1.0, 0.5, 0.4], "size_bytes": [6e4, 3e4, 2e4]}
    return _stored(store, given, predicted, [Measurement(0, 0.96, 0.94, 1.5, False)])


@pytest.fixture
def unsearched(store: Store) -> str:
    """One that did not search for accuracy, whose members' accuracy was measured all the same."""
    given = {"device": "host-onnxruntime", "objectives": ["latency_ms", "size_bytes"]}
    predicted = {"latency_ms": [1.0, 0.5, 0.4], "size_bytes": [6e4, 3e4, 2e4]}
    return _stored(store, given, predicted, [Measurement(0, 0.95, 0.94, 1.5, False)])


def test_accuracies_that_the_search_measured_are_not_called_predicted(
    client: TestClient, searched: str, found: str
) -> None:
    assert "Accuracy: 96.00 % measured, 96.00 % measured in the search" in client.get("/experiments").text
    text = client.get(f"/experiments/{searched}").text
    assert [_words(one) for one in re.findall(r'<th scope="col" class="number">(.*?)</th>', text)] == [
        "Accuracy (%)",
        "measured in the search",
        "measured",
        "predicted",
        "measured",
        "predicted",
        "on test images",
    ]
    cells = _rows(client.get(f"/experiments/{searched}/candidates/0").text, "judged")
    assert cells["Accuracy"][:3] == ["96.00 % measured in the search", "96.00 %", "94.00 %"]
    assert cells["Latency"][0] == "1 ms"
    scales = client.get(f"/experiments/{searched}/plot.json").json()["scales"]
    assert (scales["top1"]["found"], scales["latency_ms"]["found"]) == ("measured in the search", "predicted")
    both = client.get(f"/compare?experiment={searched}&experiment={found}").text
    told = [line for line in re.findall(r"<li>(.*?)</li>", both) if "members" in line]
    assert ["accuracies were measured in the search" in line for line in told] == [True, False]
    groups = client.get(f"/compare/plot.json?experiment={searched}&experiment={found}").json()["groups"]
    assert [one["searched"] for one in groups] == [True, False]


def test_an_accuracy_that_was_measured_but_not_searched_for_is_shown(client: TestClient, unsearched: str) -> None:
    cells = _rows(client.get(f"/experiments/{unsearched}/candidates/0").text, "judged")
    assert cells["Accuracy"] == [NOTHING, "95.00 %", "94.00 %", NOTHING]
    assert "Accuracy" not in _rows(client.get(f"/experiments/{unsearched}/candidates/1").text, "judged")
    data = client.get(f"/experiments/{unsearched}/plot.json?x=top1").json()
    assert data["drawn"] == ["latency_ms", "size_bytes"]  # an axis without predictions would show nothing
    assert data["axes"] == ["size_bytes", "latency_ms"]
    assert "Accuracy (%)" in client.get(f"/experiments/{unsearched}").text


def test_a_front_of_many_pages_of_the_store_is_shown_whole(
    client: TestClient, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_view, "MOST_PER_PAGE", 2)
    assert [one["id"] for one in client.get(f"/experiments/{found}/plot.json").json()["members"]] == [0, 1, 2]


def test_numbers_of_test_images_have_their_own_colour(client: TestClient, found: str) -> None:
    for path in (f"/experiments/{found}", f"/experiments/{found}/candidates/0"):
        cells = re.findall(r'<td[^>]*class="number test">(.*?)</td>', client.get(path).text)
        assert any(cell.startswith("94.00") for cell in cells), path


_DEVICES = {"devices": {"phone": "bitfusion", "edge": "roofline"}}
_COSTS = {
    "latency_ms@phone": [1.0, 0.5, 0.4],
    "latency_ms@edge": [2.0, 3.0, 4.0],
    "energy_mj@phone": [0.3, 0.2, 0.1],
    "size_bytes": [60e3, 30e3, 20e3],
}
_OF_DEVICES = Measurement(
    0, top1_validation=0.95, top1_test=0.94, dominated=False, by_device={"latency_ms@edge": 2.5}
)


def test_an_experiment_of_several_devices_has_its_pages(client: TestClient, store: Store) -> None:
    one = _stored(store, _DEVICES, {"top1": _TOP1, **_COSTS}, [_OF_DEVICES])
    text = client.get(f"/experiments/{one}").text
    for words in ("Latency on phone (ms)", "Latency on edge (ms)"):
        assert words in text
    cells = _rows(client.get(f"/experiments/{one}/candidates/0").text, "judged")
    assert cells["Latency on edge"][:2] == ["2 ms", "2.5 ms"]
    assert cells["Latency on phone"][:2] == ["1 ms", NOTHING]
    assert cells["Accuracy"][:3] == ["96.00 %", "95.00 %", "94.00 %"]
    text = client.get(f"/compare?experiment={one}").text
    assert f"{one} on edge" in text
    assert f"{one} on phone" in text
    assert "Latency on edge: 2.5 ms measured, 2 ms predicted" in client.get("/experiments").text
    assert client.get(f"/experiments/{one}/plot.json").json()["axes"] == ["latency_ms@phone", "top1"]


def test_policies_of_devices_are_shown_each_as_a_strip(client: TestClient, store: Store) -> None:
    given = {**_DEVICES, "search": {"policies": "per_device"}}
    accuracies = {"top1@phone": _TOP1, "top1@edge": [0.9, 0.8, 0.7]}
    measured = {"top1@phone": 0.95, "top1@edge": 0.85, "top1_test@phone": 0.94}
    one = _stored(store, given, {**accuracies, **_COSTS}, [Measurement(0, dominated=False, by_device=measured)])
    text = client.get(f"/experiments/{one}/candidates/0").text
    cells = _rows(text, "judged")
    assert cells["Accuracy on phone"][:3] == ["96.00 %", "95.00 %", "94.00 %"]
    assert cells["Accuracy on edge"][:2] == ["90.00 %", "85.00 %"]
    assert text.count('<svg class="strip"') == 2
    assert "<h3>On phone</h3>" in text
    assert "<h3>On edge</h3>" in text
    assert client.get(f"/experiments/{one}").status_code == 200
    assert html5lib.HTMLParser(strict=True).parse(text) is not None


def test_pages_ask_for_news_where_there_can_be_any(
    client: TestClient, store: Store, found: str, spec: dict[str, Any]
) -> None:
    path = f"/experiments/{found}/candidates/1"
    assert 'id="exports" data-live="0"' in client.get(path).text
    assert 'id="experiments" data-live="20"' in client.get("/experiments").text
    store.create_experiment("queued", spec, 0)
    assert 'id="experiments" data-live="3"' in client.get("/experiments").text


def test_experiments_beyond_the_newest_can_be_compared(
    client: TestClient, store: Store, found: str, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitfront.experiments.web import compare_page

    monkeypatch.setattr(compare_page, "_OFFERED", 3)
    newer = [store.create_experiment(f"newer{i}", spec, 0).id for i in range(4)]
    text = client.get(f"/compare?experiment={newer[3]}").text
    assert found not in text
    older = re.search(r'name="cursor" value="([^"]+)"', text)
    assert older is not None
    text = client.get("/compare", params={"experiment": newer[3], "cursor": older[1]}).text
    assert f'value="{found}"' in text
    assert f'value="{newer[3]}" checked' in text  # what was chosen stays
    assert found not in client.get("/compare", params={"cursor": ""}).text  # the newest again
    text = client.get("/compare", params={"experiment": [newer[3], found]}).text
    assert f'value="{found}" checked' in text


@pytest.mark.browser
def test_marks_say_which_of_two_metrics_was_measured(base: str, page: Page, found: str) -> None:
    page.goto(f"{base}/experiments/{found}")
    page.locator("#scatter[data-drawn]").wait_for()
    told = page.locator("#legend li").all_inner_texts()
    assert told == [
        "all candidates, thinned", "front, predicted", "measured, dominated",
        "accuracy measured, latency predicted", "measured",
    ]  # fmt: skip
    half = page.evaluate("series().find((one) => one.half && one.points.length).points")
    assert [(one["id"], one["x"], one["y"]) for one in half] == [(1, 0.5, 90)]
    whole = page.evaluate("series().find((one) => one.name === 'measured').points")
    assert [(one["id"], one["x"], one["y"]) for one in whole] == [(0, 1.5, 95)]


@pytest.mark.browser
def test_compared_groups_differ_and_none_looks_measured(base: str, page: Page, found: str) -> None:
    page.goto(f"{base}/compare?experiment={found}")
    page.locator("#compare-plot [data-drawn]").wait_for()
    data = "{axes: ['a', 'b'], scales: {a: {}, b: {}}}"
    series = f"Array.from({{length: 64}}, (_, i) => seriesOf({data}, {{name: `${{i}}`, members: []}}, i))"
    program = f"{series}.map((one) => [one.ink, one.shape])"
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for theme in themes:
        page.emulate_media(color_scheme=theme)
        looks = [tuple(one) for one in page.evaluate(program)]
        assert len(set(looks)) == 64
        taken = {page.evaluate(f"colour('{name}')") for name in ("measured", "test")}
        assert not taken & {ink for ink, _ in looks}


def _words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def _rows(page: str, table: str) -> dict[str, list[str]]:
    """The rows of the table with a class, by their headers."""
    found = re.search(rf'<table class="{table}[^"]*">(.*?)</table>', page, re.DOTALL)
    assert found is not None
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', found[1], re.DOTALL)
    cells = {_words(head): re.findall(r"<td[^>]*>(.*?)</td>", rest, re.DOTALL) for head, rest in rows}
    return {head: [_words(one) for one in own] for head, own in cells.items()}
