"""What every store promises of what a search finds: generations, candidates, and the measured front."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import ConflictError, CursorError
from bitfront.experiments.store.records import Candidate, CandidateBatch, ExportRecord, Generation, Measurement
from bitfront.search.constraints import METRICS
from bitfront.supernet.errors import NumericalError, UnknownNameError
from bitfront.supernet.genes import Genomes

Opener = Callable[[], Store]
N_GENES = 7


def genomes_of(rng: np.random.Generator, n: int) -> Genomes:
    """Different random genomes."""
    numbers = rng.choice(5**N_GENES, size=n, replace=False)
    return np.stack([numbers // 5**i % 5 for i in range(N_GENES)], axis=1).astype(np.uint8)


def batch_of(
    genomes: Genomes, rng: np.random.Generator, metrics: tuple[str, ...] = tuple(METRICS)
) -> CandidateBatch:
    return CandidateBatch(genomes, {metric: rng.random(len(genomes)) for metric in metrics})


def everything(
    store: Store, experiment_id: str, limit: int, order: str = "id", on_front: bool = False
) -> list[Candidate]:
    items: list[Candidate] = []
    cursor = None
    while True:
        page = store.candidates(experiment_id, cursor, limit, order, on_front)
        items += page.items
        if page.next_cursor is None:
            return items
        assert len(page.items) == limit
        cursor = page.next_cursor


class TestGenerations:
    def test_comes_back_with_its_state(self, opener: Opener, experiment: str, rng: np.random.Generator) -> None:
        batch = batch_of(genomes_of(rng, 20), rng)
        state = {"population": batch.genomes, "rng": {"state": 2**127 + 1}, "nested": [{"F": rng.random((3, 2))}]}
        generation = Generation(0, 20, 0.123456789)
        with opener() as store:
            assert store.last_generation(experiment) is None
            store.add_generation(experiment, generation, batch, batch.genomes[:3], state)
        with opener() as store:
            last = store.last_generation(experiment)
            found = everything(store, experiment, 100)
        assert last is not None
        assert last[0] == generation
        assert last[0].created_at == generation.created_at
        np.testing.assert_array_equal(last[1]["population"], batch.genomes)
        assert last[1]["rng"] == state["rng"]
        np.testing.assert_array_equal(last[1]["nested"][0]["F"], state["nested"][0]["F"])  # type: ignore[index]
        assert [one.genome for one in found] == [row.tobytes() for row in batch.genomes]
        for metric in METRICS:
            assert [one.predicted[metric] for one in found] == batch.predicted[metric].tolist()

    def test_state_of_the_newest_counts(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        for index in range(3):
            batch = batch_of(genomes_of(rng, 4), rng)
            store.add_generation(
                experiment, Generation(index, 4 * index, index / 2), batch, batch.genomes[:1], {"i": index}
            )
        last = store.last_generation(experiment)
        assert last == (Generation(2, 8, 1.0), {"i": 2})
        assert store.generations(experiment) == tuple(Generation(i, 4 * i, i / 2) for i in range(3))

    @pytest.mark.parametrize("index", [-1, 0, 2])
    def test_index_must_follow(self, store: Store, experiment: str, rng: np.random.Generator, index: int) -> None:
        first = batch_of(genomes_of(rng, 4), rng)
        store.add_generation(experiment, Generation(0, 4, 0.1), first, first.genomes, {})
        with pytest.raises(ConflictError, match="1 comes next"):
            store.add_generation(experiment, Generation(index, 8, 0.2), first, first.genomes, {})

    def test_known_genomes_stay(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 6)
        first, second = batch_of(genomes[:4], rng), batch_of(genomes[2:], rng)
        store.add_generation(experiment, Generation(0, 4, 0.1), first, genomes[:1], {})
        before = everything(store, experiment, 100)
        store.add_generation(experiment, Generation(1, 8, 0.2), second, genomes[:1], {})
        after = everything(store, experiment, 100)
        assert after[:4] == before
        assert [one.genome for one in after] == [row.tobytes() for row in genomes]
        assert [one.generation for one in after] == [0] * 4 + [1] * 2
        assert store.count_candidates(experiment) == 6

    def test_front_is_replaced(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 2000)
        first, second = genomes[:1500], genomes[700:]
        store.add_generation(experiment, Generation(0, 1, 0.1), batch_of(genomes, rng), first, {})
        assert [one.genome for one in everything(store, experiment, 700, on_front=True)] == [
            g.tobytes() for g in first
        ]
        empty = batch_of(genomes[:0], rng)
        store.add_generation(experiment, Generation(1, 1, 0.1), empty, second, {})
        assert [one.genome for one in everything(store, experiment, 700, on_front=True)] == [
            g.tobytes() for g in second
        ]
        assert {one.genome for one in everything(store, experiment, 999) if one.on_front} == {
            g.tobytes() for g in second
        }

    def test_a_failure_leaves_nothing(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        genomes = genomes_of(rng, 6)
        store.add_generation(experiment, Generation(0, 4, 0.1), batch_of(genomes[:4], rng), genomes[:2], {"i": 0})
        before = everything(store, experiment, 10), store.last_generation(experiment)
        with pytest.raises(ConflictError, match="1 members of the front"):
            store.add_generation(
                experiment, Generation(1, 8, 0.2), batch_of(genomes[4:5], rng), genomes[4:], {"i": 1}
            )
        with pytest.raises(NumericalError, match="hypervolume"):
            store.add_generation(experiment, Generation(1, 8, math.nan), batch_of(genomes[4:], rng), genomes, {})
        with pytest.raises(TypeError, match=r"state\.a\.b"):
            store.add_generation(
                experiment, Generation(1, 8, 1.0), batch_of(genomes[4:], rng), genomes, {"a": {"b": set()}}
            )
        assert (everything(store, experiment, 10), store.last_generation(experiment)) == before
        assert len(store.generations(experiment)) == 1

    def test_experiments_are_apart(self, store: Store, experiment: str, rng: np.random.Generator) -> None:
        other = store.create_experiment("other", {}, 0).id
        batch = batch_of(genomes_of(rng, 5), rng)
        store.add_generation(experiment, Generation(0, 5, 0.1), batch, batch.genomes, {"mine": 1})
        store.add_generation(other, Generation(0, 5, 0.7), batch, batch.genomes[:1], {"mine": 2})
        assert [one.id for one in everything(store, other, 10)] == [
            one.id for one in everything(store, experiment, 10)
        ]
        assert len(everything(store, experiment, 10, on_front=True)) == 5
        assert store.last_generation(other) == (Generation(0, 5, 0.7), {"mine": 2})


class TestAskingAgain:
    def test_the_newest_generation_once_more(
        self, store: Store, experiment: str, rng: np.random.Generator
    ) -> None:
        genomes = genomes_of(rng, 4)
        batch, one = CandidateBatch(genomes, {"top1": np.zeros(4)}), Generation(0, 4, 0.1)
        store.add_generation(experiment, one, batch, genomes[:1], {"i": 0})
        store.add_generation(experiment, one, batch, genomes[:1], {"i": 0})
        assert store.generations(experiment) == (one,)
        with pytest.raises(ConflictError, match="1 comes next"):
            store.add_generation(
                experiment, replace(one, created_at=one.created_at + timedelta(seconds=1)), batch, genomes[:1], {}
            )


class TestCandidates:
    @pytest.fixture
    def rows(self, store: Store, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        """40 candidates with many ties, without energy."""
        genomes = genomes_of(rng, 40)
        predicted = {"top1": rng.integers(0, 4, 40) / 10, "latency_ms": rng.random(40)}
        store.add_generation(
            experiment, Generation(0, 40, 0.1), CandidateBatch(genomes, predicted), genomes[::3], {}
        )
        return everything(store, experiment, 100)

    @pytest.mark.parametrize("on_front", [False, True])
    @pytest.mark.parametrize("limit", [1, 7, 40, 1000])
    @pytest.mark.parametrize("order", ["id", "-id", "top1", "-top1", "latency_ms", "-latency_ms"])
    def test_order(
        self, store: Store, experiment: str, rows: list[Candidate], order: str, limit: int, on_front: bool
    ) -> None:
        name = order.removeprefix("-")
        expected = sorted(
            (row for row in rows if row.on_front or not on_front),
            key=lambda row: (row.id,) if name == "id" else (row.predicted[name], row.id),
            reverse=order.startswith("-"),
        )
        assert everything(store, experiment, limit, order, on_front) == expected

    def test_missing_metrics(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        assert set(rows[0].predicted) == {"top1", "latency_ms"}
        assert everything(store, experiment, 10, "energy_mj") == []

    def test_what_could_not_be_scored_has_its_error_and_no_numbers(
        self, store: Store, experiment: str, rng: np.random.Generator
    ) -> None:
        genomes, top1 = genomes_of(rng, 5), np.array([np.nan, 0.4, np.inf, 0.3, 0.2])
        batch = CandidateBatch(genomes, {"top1": top1}, {0: "out of memory", 2: "its worker died"})
        store.add_generation(experiment, Generation(0, 5, 0.1), batch, genomes[1:2], {})
        found = everything(store, experiment, 2)
        assert [one.error for one in found] == ["out of memory", None, "its worker died", None, None]
        assert [one.predicted.get("top1") for one in found] == [None, 0.4, None, 0.3, 0.2]
        assert [one.id for one in everything(store, experiment, 2, "top1")] == [4, 3, 1]
        with pytest.raises(NumericalError, match="top1 of row 2"):
            CandidateBatch(genomes, {"top1": top1}, {0: "out of memory"})

    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest.mark.parametrize("order", ["latency_ms@pixel-6", "-latency_ms@pixel-6"])
    def test_metrics_of_several_devices(
        self, store: Store, experiment: str, rng: np.random.Generator, order: str, limit: int
    ) -> None:
        genomes = genomes_of(rng, 30)
        latency = rng.random((2, 30)) * np.array([[1e-7], [1e9]])
        latency[0, 7] = latency[0, 9] = 5e-8
        predicted = {
            "top1": rng.random(30), "latency_ms@pixel-6": latency[0], "latency_ms@cpu.2": latency[1]
        }  # fmt: skip
        latency[0, 4] = np.nan
        batch = CandidateBatch(genomes, predicted, {4: "out of memory"})
        store.add_generation(experiment, Generation(0, 30, 0.1), batch, genomes[:1], {})
        found = everything(store, experiment, limit)
        assert [one.predicted for one in found] == [
            {} if i == 4 else {name: values[i] for name, values in predicted.items()} for i in range(30)
        ]
        scored = [one for one in found if one.error is None]
        expected = sorted(
            scored, key=lambda one: (one.predicted["latency_ms@pixel-6"], one.id), reverse=order.startswith("-")
        )
        assert everything(store, experiment, limit, order) == expected
        assert everything(store, experiment, limit, "latency_ms@other") == []

    @pytest.mark.parametrize("name", ["latncy_ms@a", "id@a", 'latency_ms@a"b', "latency_ms@", "latency_ms@a b"])
    def test_an_order_that_can_be_no_metric_of_a_device(self, store: Store, experiment: str, name: str) -> None:
        with pytest.raises(UnknownNameError, match="order"):
            store.candidates(experiment, order=name)

    def test_rows_added_between_pages(
        self, store: Store, experiment: str, rows: list[Candidate], rng: np.random.Generator
    ) -> None:
        first = store.candidates(experiment, limit=25, order="latency_ms")
        fresh = np.full((8, N_GENES), 9, dtype=np.uint8) + np.arange(8, dtype=np.uint8)[:, None]
        store.add_generation(experiment, Generation(1, 48, 0.2), batch_of(fresh, rng), fresh[:1], {})
        second = store.candidates(experiment, first.next_cursor, 100, "latency_ms")
        seen = [one.id for one in (*first.items, *second.items)]
        assert len(seen) == len(set(seen))
        assert {row.id for row in rows} <= set(seen)

    def test_cursor_of_another_listing(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        cursor = store.candidates(experiment, limit=5, order="top1").next_cursor
        assert cursor is not None
        other = store.create_experiment("other", {}, 0).id
        calls: list[Callable[[], object]] = [
            lambda: store.candidates(experiment, cursor, order="-top1"),
            lambda: store.candidates(experiment, cursor),
            lambda: store.candidates(experiment, cursor, order="top1", on_front=True),
            lambda: store.candidates(other, cursor, order="top1"),
            lambda: store.list_experiments(cursor),
        ]
        for call in calls:
            with pytest.raises(CursorError, match="start without a cursor"):
                call()

    def test_unknown_order(self, store: Store, experiment: str) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
            store.candidates(experiment, order="latency")

    def test_one(self, store: Store, experiment: str, rows: list[Candidate]) -> None:
        assert store.candidate(experiment, rows[7].id) == rows[7]
        np.testing.assert_array_equal(rows[7].array, np.frombuffer(rows[7].genome, dtype=np.uint8))
        for missing in (40, -1, 2**31, 10**30):
            with pytest.raises(UnknownNameError, match=re.escape(f"candidate of {experiment}")):
                store.candidate(experiment, missing)

    @pytest.mark.parametrize(("value", "metric"), [(math.nan, "latency_ms"), (math.inf, "macs"), (1.5, "top1")])
    def test_numbers_that_make_no_sense_are_refused(self, value: float, metric: str) -> None:
        with pytest.raises(NumericalError, match=f"{metric} of row 1"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {metric: np.array([0.5, value])})

    def test_shapes_are_checked(self) -> None:
        with pytest.raises(ValueError, match="latency"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {"latency": np.zeros(2)})
        with pytest.raises(ValueError, match=r"shape \(2,\)"):
            CandidateBatch(np.zeros((2, 3), dtype=np.uint8), {"macs": np.zeros(3)})
        with pytest.raises(ValueError, match="uint8"):
            CandidateBatch(np.zeros((2, 3)), {})  # type: ignore[arg-type]


class TestFront:
    @pytest.fixture
    def members(self, store: Store, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        batch = batch_of(genomes_of(rng, 9), rng)
        store.add_generation(experiment, Generation(0, 9, 0.1), batch, batch.genomes[:4], {})
        return everything(store, experiment, 10, on_front=True)

    def test_predicted_beside_measured(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        ids = [member.id for member in members]
        store.add_front_members(experiment, ids[:2])
        store.measure_front_members(experiment, [Measurement(ids[0], top1_validation=0.9)])
        store.add_front_members(experiment, ids)
        store.measure_front_members(
            experiment,
            [
                Measurement(ids[0], top1_test=0.0, latency_ms=1.5, dominated=True),
                Measurement(ids[1], error="no device here"),
                Measurement(ids[2]),
            ],
        )
        found = store.front(experiment)
        assert [member.candidate for member in found] == members
        assert (found[0].top1_validation, found[0].top1_test, found[0].latency_ms) == (0.9, 0.0, 1.5)
        assert [member.dominated for member in found] == [True, False, False, False]
        assert [member.error for member in found] == [None, "no device here", None, None]
        store.measure_front_members(experiment, [Measurement(ids[0], dominated=False)])
        assert not store.front(experiment)[0].dominated

    def test_measurements_of_several_devices_add_up(
        self, store: Store, experiment: str, members: list[Candidate]
    ) -> None:
        one, two = members[0].id, members[1].id
        store.add_front_members(experiment, [one, two])
        for found in ({"latency_ms@a": 1.25}, {"latency_ms@b-2": 0.1}, {"latency_ms@a": 1.5}, {}):
            store.measure_front_members(experiment, [Measurement(one, top1_test=0.5, by_device=found)])
        assert [member.by_device for member in store.front(experiment)] == [
            {"latency_ms@a": 1.5, "latency_ms@b-2": 0.1},
            {},
        ]
        with pytest.raises(NumericalError, match="top1@a"):
            Measurement(one, by_device={"top1@a": 1.5})

    def test_others_are_refused_whole(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        with pytest.raises(ConflictError):
            store.add_front_members(experiment, [members[0].id, 999])
        assert store.front(experiment) == ()
        store.add_front_members(experiment, [members[0].id])
        with pytest.raises(ConflictError, match="candidate 999"):
            store.measure_front_members(experiment, [Measurement(members[0].id, top1_test=0.5), Measurement(999)])
        assert store.front(experiment)[0].top1_test is None

    def test_nan_is_refused(self) -> None:
        with pytest.raises(NumericalError, match="top1_test"):
            Measurement(0, top1_test=math.nan)

    def test_exports(self, store: Store, experiment: str, members: list[Candidate]) -> None:
        record = ExportRecord(members[0].id, "onnx", "a.onnx", "00ff", None)
        store.put_export(experiment, record)
        store.put_export(experiment, replace(record, sha256="11", top1_test=0.97))
        store.put_export(experiment, replace(record, format="plan"))
        for device in ("phone", "cpu", "phone"):
            store.put_export(experiment, replace(record, device=device, path=f"{device}.onnx"))
        assert store.exports(experiment) == (
            replace(record, sha256="11", top1_test=0.97),
            replace(record, device="cpu", path="cpu.onnx"),
            replace(record, device="phone", path="phone.onnx"),
            replace(record, format="plan"),
        )
        with pytest.raises(ConflictError):
            store.put_export(experiment, replace(record, candidate_id=999))
