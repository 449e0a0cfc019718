"""What the plots draw: the whole front, and of all others as many as can be told apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from scipy.spatial import KDTree

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import CandidateBatch, Generation
from bitfront.experiments.web.front_view import CLOUD
from bitfront.supernet.spaces import SPACES


def test_members_have_what_was_predicted_and_what_was_measured(client: TestClient, found: str) -> None:
    data = client.get(f"/experiments/{found}/plot.json").json()
    assert data["axes"] == ["latency_ms", "top1"]
    members = {one["id"]: one for one in data["members"]}
    assert members[0]["predicted"]["top1"] == 0.96
    assert members[0]["measured"]["top1"] == 0.95
    assert "latency_ms" not in members[1]["measured"]
    assert members[2]["state"] == "measured, dominated"
    assert sorted(data["cloud"]["id"]) == [3, 4, 5]
    assert data["cloud"]["total"] == 6
    assert data["over"] is True
    other = client.get(f"/experiments/{found}/plot.json?x=size_bytes&y=latency_ms").json()
    assert other["axes"] == ["size_bytes", "latency_ms"]
    assert other["cloud"]["x"] == [10e3, 9e3, 8e3]


def test_the_same_data_are_not_sent_twice(client: TestClient, found: str) -> None:
    first = client.get(f"/experiments/{found}/plot.json")
    again = client.get(f"/experiments/{found}/plot.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(f"/experiments/{found}/plot.json?x=macs", headers={"If-None-Match": '"x"'})
    assert other.status_code == 200


def test_before_the_search_there_is_nothing_to_draw(
    client: TestClient, store: Store, spec: dict[str, Any]
) -> None:
    experiment = store.create_experiment("young", spec, 0)
    data = client.get(f"/experiments/{experiment.id}/plot.json").json()
    assert (data["members"], data["axes"], data["cloud"], data["over"]) == ([], None, None, False)
    assert "Nothing is on the front yet" in client.get(f"/experiments/{experiment.id}").text


def test_of_many_candidates_few_are_sent_and_the_front_whole(
    client: TestClient, store: Store, spec: dict[str, Any], rng: np.random.Generator
) -> None:
    n, on_front = 20_000, 700
    space = SPACES.get("digits")()
    genomes = np.unique(space.sample(n + 200, rng), axis=0)[:n]
    top1, latency = rng.uniform(0.1, 0.99, len(genomes)), rng.uniform(0.1, 5.0, len(genomes))
    predicted = {"top1": top1, "latency_ms": latency, "size_bytes": rng.uniform(1e3, 1e5, len(genomes))}
    experiment = store.create_experiment("many", spec, 0)
    store.claim(experiment.id)
    batch = CandidateBatch(genomes, predicted)
    store.add_generation(experiment.id, Generation(0, n, 0.5), batch, genomes[:on_front], {})
    answer = client.get(f"/experiments/{experiment.id}/plot.json")
    data = answer.json()
    assert len(data["members"]) == on_front
    assert data["cloud"]["total"] == len(genomes)
    assert 500 < len(data["cloud"]["id"]) <= CLOUD
    assert len(answer.content) < 1_000_000
    # Whatever is not drawn has something that is drawn in the same part of the plot.
    points = np.stack([(latency - latency.min()) / np.ptp(latency), (top1 - top1.min()) / np.ptp(top1)], axis=1)
    drawn = [*data["cloud"]["id"], *(one["id"] for one in data["members"])]
    distance, _ = KDTree(points[drawn]).query(points, p=np.inf)
    assert distance.max() <= 1 / math.isqrt(CLOUD)
