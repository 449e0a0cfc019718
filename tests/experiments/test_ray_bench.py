"""What the bench of Ray compares and counts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.benchmarks import BENCHMARKS, ray_workers
from bitfront.experiments.benchmarks.evaluate import prepared_supernet
from bitfront.experiments.benchmarks.ray_workers import Searched, Sizes, Watched, differences, found_in, searched
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.stages.measuring import Shared
from bitfront.search.executors import EXECUTORS
from bitfront.search.front import Front
from bitfront.supernet.data.digits import digits
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.settings import SpaceSettings

TINY = Sizes(candidates=4, rounds=1, population=4, generations=2)


@pytest.fixture(scope="module")
def shared() -> Shared:
    supernet = prepared_supernet(SPACES.get("digits")(), digits(), 0)
    weights = {name: tensor.detach().numpy() for name, tensor in supernet.state_dict().items()}
    return Shared(SpaceSettings("digits"), "digits", weights, 32)


def test_differences_are_seen() -> None:
    F = np.array([[0.1, 2.0], [0.2, 1.0]])
    genomes = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    front = Front.of(["top1", "latency_ms"], genomes, {"top1": 1 - F[:, 0], "latency_ms": F[:, 1]})
    one = Searched(front, {b"a": 0.9, b"b": 0.8, b"c": "broken"})
    assert differences(one, one) == (0, 0, 0)
    assert differences(one, Searched(front, {b"a": 0.9, b"b": 0.8})) == (1, 0, 0)
    assert differences(Searched(front, {b"a": 0.9, b"b": 0.8}), one) == (1, 0, 0)
    assert differences(one, Searched(front, {b"a": 0.9, b"b": math.nextafter(0.8, 1), b"c": 0.1})) == (0, 2, 0)
    assert differences(one, dataclasses.replace(one, front=front.take(np.array([0])))) == (0, 0, 1)


def test_a_candidate_measured_twice_into_two_values_differs() -> None:
    front = Front.of(["top1"], np.array([[0]], dtype=np.uint8), {"top1": np.array([0.9])})
    one = Searched(front, {b"a": 0.9}, {b"a": {0.9}})
    twice = dataclasses.replace(one, found={b"a": {0.9, 0.8}, b"of a former search": {0.1}})
    assert differences(one, dataclasses.replace(one, found={})) == (0, 0, 0)
    assert differences(one, twice) == differences(twice, one) == (0, 1, 0)


def test_what_workers_wrote_down_is_read_up_to_a_line_cut_short(tmp_path: Path) -> None:
    (tmp_path / "7.values").write_text('["0a", 0.5]\n["0b", 0.25]\n["0a", 0.75]\n')
    (tmp_path / "8.values").write_text('["0b", 0.25]\n["0c", "broken"]\n["0d", 0.12')
    (tmp_path / "8.machine").write_text("here")
    assert found_in(tmp_path) == {b"\n": {0.5, 0.75}, b"\x0b": {0.25}, b"\x0c": {"broken"}}


@pytest.mark.slow
def test_the_search_measures_every_candidate_once(shared: Shared, tmp_path: Path) -> None:
    heard: list[bytes] = []
    with EXECUTORS.get("local")() as local:
        found = searched(
            local, Watched(shared, str(tmp_path)), TINY, 0, lambda genomes, _: heard.extend(map(bytes, genomes))
        )
    assert len(heard) == len(set(heard)) == 8
    assert set(heard) == set(found.outcomes)
    assert all(isinstance(outcome, float) and 0 <= outcome <= 1 for outcome in found.outcomes.values())
    assert {genome.tobytes() for genome in found.front.genomes} <= set(heard)
    assert found.found == {key: {outcome} for key, outcome in found.outcomes.items()}


@pytest.mark.ray
@pytest.mark.slow
def test_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_workers, "QUICK", Sizes(8, 1, 6, 3))
    result = ray_workers.run(True, 1, Reporters())
    assert all(goal.holds for goal in result.goals if goal.figure != "times_one_worker")
    assert result.figures["seconds_of_further_call"] < result.figures["seconds_of_first_call"]
    assert result.figures["times_one_worker"] > 0


def test_it_is_registered() -> None:
    assert "ray" in BENCHMARKS.names()
