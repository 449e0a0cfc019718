"""Fronts, candidates, hypervolume, importances and comparisons: predicted and measured numbers apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.importances import gene_importances
from bitfront.experiments.rows import front_rows
from bitfront.experiments.service import answers
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.cursors import encode_cursor
from bitfront.experiments.store.records import CandidateBatch, Experiment, Generation, Measurement
from bitfront.supernet.spaces import SPACES

Refused = Callable[[httpx.Response, int], dict[str, Any]]


def _place(one: Experiment, rest: str) -> str:
    return f"/api/v1/experiments/{one.id}/{rest}"


def test_the_front_is_what_the_command_line_prints(api: TestClient, store: Store, done: Experiment) -> None:
    found = api.get(_place(done, "front"), params={"all": True}).json()
    expected = front_rows(store, done.id)
    assert [{**row, "policy": []} for row in found["items"]] == [{**row, "policy": []} for row in expected]
    for row, wanted in zip(found["items"], expected, strict=True):
        assert [{k: v for k, v in one.items() if k != "device"} for one in row["policy"]] == wanted["policy"]
    assert found["objectives"] == ["top1", "latency_ms", "size_bytes"]
    assert found["hidden"] == 0


def test_dominated_members_are_hidden_unless_asked_for(api: TestClient, done: Experiment) -> None:
    found = api.get(_place(done, "front")).json()
    assert [row["candidate"] for row in found["items"]] == [0, 1]
    assert found["hidden"] == 1


@pytest.mark.parametrize(
    ("where", "candidates"),
    [
        ("latency_ms <= 1.2", [1]),  # that of 2 is predicted as 0.4, and measured as 2.5
        ("predicted_latency_ms <= 1.2", [0, 1, 2]),
        ("measured_latency_ms > 2", [2]),
        ("not dominated and top1 >= 0.9", [0, 1]),
        ("top1 > 1", []),
    ],
)
def test_conditions_tell_predicted_from_measured(
    api: TestClient, done: Experiment, where: str, candidates: list[int]
) -> None:
    found = api.get(_place(done, "front"), params={"where": where, "all": True}).json()
    assert [row["candidate"] for row in found["items"]] == candidates


@pytest.mark.parametrize("where", ["latency_ms <=", "__import__('os')", "nonsense > 1", "top1 > 'a'", "x" * 2001])
def test_bad_conditions_are_explained(api: TestClient, done: Experiment, where: str, refused: Refused) -> None:
    refused(api.get(_place(done, "front"), params={"where": where}), 422)


def test_the_predicted_front_has_no_measured_number(api: TestClient, done: Experiment) -> None:
    found = api.get(_place(done, "front"), params={"kind": "predicted", "where": "latency_ms <= 0.5"}).json()
    assert [row["candidate"] for row in found["items"]] == [1, 2]
    assert all(set(row["measured"].values()) == {None} for row in found["items"])
    assert found["hidden"] == 1


def test_the_predicted_front_is_whole_and_in_order(
    api: TestClient, store: Store, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large: here the pages of the store are small."""
    one = store.create_experiment("digits", spec, 0)
    store.claim(one.id)
    genomes = SPACES.get("digits")().sample(7, np.random.default_rng(0))
    predicted = {
        "top1": np.array([0.5, 0.9, 0.7, 0.9, 0.6, 0.95, 0.55]),
        "latency_ms": np.array([0.5, 0.95, 0.7, 0.9, 0.6, 1.0, 0.55]),
        "size_bytes": np.arange(7.0),
    }
    store.add_generation(one.id, Generation(0, 7, 0.1), CandidateBatch(genomes, predicted), genomes, {})
    monkeypatch.setattr(answers, "MOST_PER_PAGE", 3)
    items = api.get(_place(one, "front"), params={"kind": "predicted"}).json()["items"]
    assert [row["predicted"]["top1"] for row in items] == [0.95, 0.9, 0.9, 0.7, 0.6, 0.55, 0.5]
    assert [row["predicted"]["latency_ms"] for row in items[1:3]] == [0.9, 0.95]  # the better of equals first
    some = api.get(_place(one, "front"), params={"kind": "predicted", "where": "latency_ms <= 0.6"}).json()
    assert [row["predicted"]["top1"] for row in some["items"]] == [0.6, 0.55, 0.5]
    assert some["hidden"] == 4


def test_an_etag_saves_what_did_not_change(api: TestClient, store: Store, done: Experiment) -> None:
    first = api.get(_place(done, "front"))
    tag = first.headers["ETag"]
    again = api.get(_place(done, "front"), headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tag
    store.measure_front_members(done.id, [Measurement(1, top1_validation=0.5)])
    changed = api.get(_place(done, "front"), headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_a_long_condition_still_has_a_next_page(api: TestClient, done: Experiment) -> None:
    where = " and ".join(f"size_bytes <= {30_000 + i / 7}" for i in range(1, 21))
    found, cursor = [], None
    while True:
        params: dict[str, Any] = {"where": where, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = api.get(_place(done, "candidates"), params=params)
        assert page.status_code == 200, page.text
        found += [one["candidate"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
        assert len(cursor) < 200 < len(where)
    assert found == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("key", [2**31, 2**40, 2**63 - 1, -(2**40), 1e300])
def test_a_cursor_behind_every_row_is_refused(
    api: TestClient, done: Experiment, refused: Refused, key: float
) -> None:
    """A column of PostgreSQL can not be compared with it."""
    cursor = encode_cursor("experiments", [key])
    refused(api.get("/api/v1/experiments", params={"cursor": cursor}), 422)
    for order, start in (("id", []), ("top1", [0.5])):
        cursor = encode_cursor(f"candidates {done.id} {order} all", [*start, key])
        refused(api.get(_place(done, "candidates"), params={"cursor": cursor, "order": order}), 422)


def test_candidates_come_in_pages_orders_and_filters(api: TestClient, done: Experiment, refused: Refused) -> None:
    given: dict[str, Any] = {"order": "-latency_ms", "where": "latency_ms <= 0.5 and top1 > 0.6", "limit": 2}
    found, cursor = [], None
    while True:
        params = {**given, "count": True, **({"cursor": cursor} if cursor else {})}
        page = api.get(_place(done, "candidates"), params=params).json()
        assert page["total"] == 4
        found += [one["candidate"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [1, 2, 3, 4]
    front = api.get(_place(done, "candidates"), params={"on_front": True}).json()["items"]
    assert [one["candidate"] for one in front] == [0, 1, 2]
    assert all(one["on_front"] for one in front)
    refused(api.get(_place(done, "candidates"), params={"order": "colour"}), 422)
    refused(api.get(_place(done, "candidates"), params={"where": "top1 > many"}), 422)
    refused(api.get(_place(done, "candidates"), params={"where": " and ".join(["top1 > 0"] * 21)}), 422)


def test_a_candidate_is_told_layer_by_layer(
    api: TestClient, store: Store, done: Experiment, refused: Refused
) -> None:
    found = api.get(_place(done, "candidates/0")).json()
    layers = SPACES.get("digits")().layers(store.candidate(done.id, 0).array)
    assert [one["name"] for one in found["layers"]] == [layer.name for layer in layers]
    assert [one["width"] for one in found["layers"]] == [layer.out_channels for layer in layers]
    assert {one["weight_bits"] for one in found["layers"]} <= {2, 3, 4, 5, 6, 8, 16, 32}
    assert found["predicted"]["top1"] == 0.96
    assert found["measured"] == {"top1": 0.95, "latency_ms": 1.5, "top1_test": 0.94, "size_bytes": None}
    assert found["dominated"] is False
    assert found["costs"] == []
    assert "host-onnxruntime" in found["costs_missing"]
    assert api.get(_place(done, "candidates/5")).json()["measured"] is None
    refused(api.get(_place(done, "candidates/6")), 404)
    refused(api.get(_place(done, f"candidates/{2**31}")), 422)


def test_hypervolume_over_generations(api: TestClient, done: Experiment) -> None:
    found = api.get(_place(done, "hypervolume")).json()
    assert [one["hypervolume"] for one in found["generations"]] == [0.4, 0.5]
    assert [one["evaluations"] for one in found["generations"]] == [3, 6]
    assert found["reference"] == {"1 - top1": 0.44, "latency_ms": 1.1}


def test_importances_are_told_for_every_metric(api: TestClient, done: Experiment) -> None:
    found = api.get(_place(done, "importances")).json()
    assert found["candidates"] == 6
    assert set(found["importances"]) == {"top1", "latency_ms", "size_bytes"}
    shares = [share for one in found["importances"].values() for share in one.values()]
    assert all(0 <= share <= 1 for share in shares)


def test_importances_find_the_gene_that_decides() -> None:
    space = SPACES.get("digits")()
    genomes = space.sample(3000, np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(size=len(genomes))
    decides = space.position["resolution"]
    shares = gene_importances(space, genomes, 10.0 * genomes[:, decides] + noise)
    assert shares.pop("resolution") > 0.9
    assert max(shares.values()) < 0.05
    assert set(gene_importances(space, genomes, np.ones(len(genomes))).values()) == {0.0}
    # Noise alone: less what chance explains, hardly anything is left.
    assert max(gene_importances(space, genomes, noise).values()) < 0.02


def test_fronts_are_compared(api: TestClient, store: Store, done: Experiment, refused: Refused) -> None:
    found = api.get("/api/v1/compare", params={"experiments": done.id}).json()
    expected = store.compare([done.id], ["top1", "latency_ms"])
    assert [one["candidate"] for one in found["items"]] == [one.candidate.id for one in expected]
    assert [one["predicted"] for one in found["items"]] == [dict(one.predicted) for one in expected]
    assert [one["measured"] for one in found["items"]] == [dict(one.measured) for one in expected]
    refused(api.get("/api/v1/compare", params={"experiments": "nobody"}), 404)
    refused(api.get("/api/v1/compare", params={"experiments": ","}), 422)
    refused(api.get("/api/v1/compare", params={"experiments": f"{done.id},{done.id}"}), 422)
    refused(api.get("/api/v1/compare", params={"experiments": done.id, "objectives": "beauty"}), 422)
