"""What every store answers of candidates: filtered, thinned out for a plot, and fronts compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bitfront.experiments.store.errors import CursorError
from bitfront.experiments.store.filters import COMPARE, Filter, InvalidFilterError, Op
from bitfront.experiments.store.records import Candidate, CandidateBatch, Generation, Measurement
from bitfront.experiments.store.sql import SqlStore
from bitfront.search.constraints import InvalidConstraintError
from bitfront.supernet.errors import UnknownNameError

Add = Callable[..., list[Candidate]]
OPS: tuple[Op, ...] = ("<=", ">=", "<", ">", "==")


class TestFilters:
    @pytest.fixture
    def rows(self, store: SqlStore, add: Add, experiment: str, rng: np.random.Generator) -> list[Candidate]:
        """60 candidates with ties; some without energy, one without any metric."""
        first = add(experiment, {
            "top1": rng.integers(0, 8, 50) / 8, "latency_ms": rng.integers(0, 10, 50) / 4,
            "energy_mj@pixel-6": rng.integers(0, 6, 50) / 2, "energy_mj@cpu.2": rng.random(50),
        }, front=range(0, 50, 3))  # fmt: skip
        front = np.stack([row.array for row in first[::3]])
        genomes = np.full((10, front.shape[1]), 255, dtype=np.uint8) - np.arange(10, dtype=np.uint8)[:, None]
        batch = CandidateBatch(genomes, {"latency_ms": np.arange(10) / 4}, {3: "out of memory"})
        store.add_generation(experiment, Generation(1, 60, 0.2), batch, front, {})
        return list(store.candidates(experiment, limit=100).items)

    def expected(self, rows: list[Candidate], where: Sequence[Filter], on_front: bool = False) -> list[Candidate]:
        return [
            row for row in rows
            if (row.on_front or not on_front) and all(
                one.metric in row.predicted and COMPARE[one.op](row.predicted[one.metric], one.value)
                for one in where
            )
        ]  # fmt: skip

    def test_each_comparison(self, store: SqlStore, experiment: str, rows: list[Candidate]) -> None:
        for metric, value in (("latency_ms", 1.25), ("top1", 0.5), ("energy_mj@pixel-6", 1.5)):
            for op in OPS:
                where = [Filter(metric, op, value)]
                found = list(store.candidates(experiment, limit=100, where=where).items)
                assert found == self.expected(rows, where)
                assert 0 < len(found) < 60
                assert store.count_candidates(experiment, where) == len(found)
        assert store.count_candidates(experiment) == 60

    @pytest.mark.parametrize("on_front", [False, True])
    @pytest.mark.parametrize("order", ["id", "-top1", "latency_ms", "-energy_mj@pixel-6"])
    def test_several_with_pages_in_an_order(
        self, store: SqlStore, experiment: str, rows: list[Candidate], order: str, on_front: bool
    ) -> None:
        where = [Filter("latency_ms", "<=", 2), Filter("top1", ">", 0.125), Filter("energy_mj@pixel-6", "<", 2.5)]
        name = order.removeprefix("-")
        expected = sorted(
            self.expected(rows, where, on_front),
            key=lambda row: (row.id,) if name == "id" else (row.predicted[name], row.id),
            reverse=order.startswith("-"),
        )
        found: list[Candidate] = []
        cursor = None
        while True:
            # The same filters in another order are the same listing.
            where.reverse()
            page = store.candidates(experiment, cursor, 4, order, on_front, where)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == expected
        assert len(found) > 4

    def test_cursors_belong_to_their_filters(
        self, store: SqlStore, experiment: str, rows: list[Candidate]
    ) -> None:
        cursor = store.candidates(experiment, limit=2, where=[Filter("latency_ms", "<=", 2)]).next_cursor
        others = [
            [], [Filter("latency_ms", "<", 2)], [Filter("latency_ms", "<=", 2.5)],
            [Filter("latency_ms", "<=", 2), Filter("top1", ">", 0)],
        ]  # fmt: skip
        for where in others:
            with pytest.raises(CursorError):
                store.candidates(experiment, cursor, 2, where=where)
        assert store.candidates(experiment, cursor, 2, where=[Filter("latency_ms", "<=", 2.0)]).items

    def test_text(self) -> None:
        assert Filter.parse(" latency_ms@pixel-6<=2e0 ") == Filter("latency_ms@pixel-6", "<=", 2)
        assert Filter.parse("top1 == 0.5") == Filter("top1", "==", 0.5)
        for one in ("top1", "top1 = 1", "<= 2", "top1 <= ", "top1 <= x", "top1 <= nan", "macs >= inf", "a b <= 1"):
            with pytest.raises((InvalidFilterError, UnknownNameError)):
                Filter.parse(one)
        with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
            Filter.parse("latency <= 2")
        for metric in ('latency_ms@a"b', "latency_ms@", "latency_ms@x) OR (1"):
            with pytest.raises(InvalidConstraintError):
                Filter(metric, "<=", 2)
        with pytest.raises(InvalidFilterError, match="none of"):
            Filter("top1", "!=", 0.5)  # type: ignore[arg-type]
        for value in (float("nan"), 10**400, True, "1"):
            with pytest.raises(InvalidFilterError, match="finite"):
                Filter("top1", "<", value)  # type: ignore[arg-type]


class TestThinned:
    @pytest.mark.parametrize("most", [3, 40, 100, 5000])
    def test_one_of_each_cell_and_the_whole_front(
        self, store: SqlStore, add: Add, experiment: str, rng: np.random.Generator, most: int
    ) -> None:
        front = range(0, 300, 25)
        x, y = rng.random(300) * 4 + 1, rng.random(300) ** 2
        rows = add(experiment, {"latency_ms": x, "top1": y}, front)
        found = store.thinned(experiment, "latency_ms", "top1", most)
        ids = [one.id for one in found.candidates]
        assert ids == sorted(set(ids))
        assert set(front) <= set(ids)
        assert found.total == 300
        assert list(found.candidates) == [rows[i] for i in ids]
        # The oracle: the same grid in NumPy.
        side = max(1, int(max(most - len(front), 0) ** 0.5))
        cells: dict[tuple[int, ...], list[int]] = {}
        for i in range(300):
            place = [(v[i] - v.min()) / np.ptp(v) * side * (1 - 1e-9) for v in (x, y)]
            cells.setdefault(tuple(map(int, place)), []).append(i)
        expected = dict.fromkeys(front, 0) | {members[0]: len(members) for members in cells.values()}
        assert dict(zip(ids, found.stands_for, strict=True)) == expected
        assert len(ids) <= max(most, len(front) + 1)

    def test_filters_devices_and_what_has_no_numbers(self, store: SqlStore, add: Add, experiment: str) -> None:
        values = {"top1": np.full(40, 0.5), "latency_ms@a": np.arange(40.0)}
        rows = add(experiment, values, [39])
        found = store.thinned(experiment, "latency_ms@a", "top1", 10, [Filter("latency_ms@a", "<", 20)])
        assert found.total == sum(found.stands_for) == 20
        assert 1 < len(found.candidates) <= 10
        assert rows[39] not in found.candidates
        nothing = store.thinned(experiment, "latency_ms", "top1")
        assert (nothing.candidates, nothing.stands_for, nothing.total) == ((), (), 0)
        with pytest.raises(UnknownNameError, match="latency_ms"):
            store.thinned(experiment, "latency", "top1")
        with pytest.raises(ValueError, match="most"):
            store.thinned(experiment, "top1", "macs", 0)


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


class TestCompare:
    def test_dominated_across_experiments(self, store: SqlStore, add: Add, rng: np.random.Generator) -> None:
        ids = [store.create_experiment("a", {}, i).id for i in range(3)]
        fronts = []
        for one in ids:
            values = {"top1": rng.integers(0, 9, 30) / 8, "latency_ms": rng.integers(0, 9, 30) / 4}
            fronts.append([row for row in add(one, values, range(0, 30, 2)) if row.on_front])
        wanted = [ids[2], ids[0]]
        found = store.compare(wanted, ["latency_ms", "top1"])
        expected = [(one, row) for one in wanted for row in fronts[ids.index(one)]]
        assert [(one.experiment_id, one.candidate) for one in found] == expected
        points = [(row.predicted["latency_ms"], -row.predicted["top1"]) for _, row in expected]
        assert [one.dominated for one in found] == [any(dominates(a, b) for a in points) for b in points]
        assert {one.dominated for one in found} == {True, False}
        assert {one.device for one in found} == {""}
        assert found[0].predicted == {name: expected[0][1].predicted[name] for name in ("latency_ms", "top1")}

    def test_devices_and_what_was_measured(self, store: SqlStore, add: Add, experiment: str) -> None:
        other = store.create_experiment("b", {}, 0).id
        add(experiment, {
            "top1": np.array([0.9, 0.8]), "latency_ms@phone": np.array([2.0, 1.0]),
            "latency_ms@cpu": np.array([4.0, 1.0]),
        }, [0, 1])  # fmt: skip
        add(other, {"top1": np.array([0.9]), "latency_ms": np.array([3.0]), "macs": np.array([5.0])}, [0])
        store.add_front_members(experiment, [0])
        store.add_front_members(other, [0])
        store.measure_front_members(experiment, [Measurement(0, 0.5, by_device={"latency_ms@cpu": 4.5})])
        store.measure_front_members(other, [Measurement(0, latency_ms=3.5)])
        found = store.compare([experiment, other], ["top1", "latency_ms"])
        assert [(one.candidate.id, one.device, one.predicted["latency_ms"], one.dominated) for one in found] == [
            (0, "cpu", 4.0, True), (0, "phone", 2.0, False),
            (1, "cpu", 1.0, False), (1, "phone", 1.0, False),
            (0, "", 3.0, True),
        ]  # fmt: skip
        assert [dict(one.measured) for one in found] == [
            {"top1": 0.5, "latency_ms": 4.5}, {"top1": 0.5}, {}, {}, {"latency_ms": 3.5},
        ]  # fmt: skip
        one_device = store.compare([experiment, other], ["top1", "latency_ms@phone"])
        assert [(one.device, one.predicted["latency_ms@phone"]) for one in one_device] == [("", 2.0), ("", 1.0)]
        assert store.compare([experiment], ["macs"]) == ()

    def test_bad_questions(self, store: SqlStore, experiment: str) -> None:
        assert store.compare([experiment], ["top1"]) == store.compare([], ["top1"]) == ()
        for objectives in ([], ["top1", "top1"]):
            with pytest.raises(ValueError, match="objectives"):
                store.compare([experiment], objectives)
        with pytest.raises(UnknownNameError, match="latency_ms"):
            store.compare([experiment], ["latency"])
        with pytest.raises(UnknownNameError, match=experiment):
            store.compare([experiment, experiment[:-1] + "z"], ["top1"])
