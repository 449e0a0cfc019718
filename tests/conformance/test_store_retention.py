"""What every store promises of its size: candidates are forgotten, experiments deleted, all is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from sqlalchemy import ColumnElement

from bitfront.experiments.store import sql_operations
from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.records import Candidate, ExportRecord, SupernetRecord
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import UnknownNameError

Add = Callable[..., list[Candidate]]


class TestSize:
    @pytest.fixture
    def done(self, store: SqlStore, add: Add, experiment: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """A completed experiment: 30 candidates, 0..4 on the front, 7 measured, 9 exported."""
        monkeypatch.setattr(sql_operations, "_AT_ONCE", 7)
        add(experiment, {"top1": np.linspace(0, 1, 30)}, range(5))
        store.add_front_members(experiment, [7])
        store.put_export(experiment, ExportRecord(9, "onnx", "a.onnx", "00", None))
        store.claim(experiment)
        store.set_status(experiment, Status.COMPLETED)
        return experiment

    def ids(self, store: SqlStore, experiment: str) -> list[int]:
        return [one.id for one in store.candidates(experiment).items]

    @pytest.mark.parametrize(("keep", "left"), [(True, [0, 1, 2, 3, 4, 7, 9]), (False, [7, 9])])
    def test_forgetting(self, store: SqlStore, done: str, keep: bool, left: list[int]) -> None:
        assert store.forget_candidates(done, keep) == 30 - len(left)
        assert self.ids(store, done) == left
        assert store.count_candidates(done) == len(left)
        assert store.get(done).forgotten == 30 - len(left)
        assert len(store.front(done)) == len(store.exports(done)) == len(store.generations(done)) == 1
        assert store.forget_candidates(done, keep) == 0

    def test_what_is_not_over_keeps_all(self, store: SqlStore, add: Add, experiment: str) -> None:
        add(experiment, {"top1": np.zeros(3)})
        with pytest.raises(StatusError, match="until it is over"):
            store.forget_candidates(experiment)
        store.claim(experiment)
        with pytest.raises(StatusError, match="until it is over"):
            store.forget_candidates(experiment)
        assert store.count_candidates(experiment) == 3

    def test_what_was_forgotten_is_not_resumed(self, store: SqlStore, add: Add, experiment: str) -> None:
        add(experiment, {"top1": np.zeros(3)})
        store.set_status(experiment, Status.CANCELLED)
        store.forget_candidates(experiment)
        with pytest.raises(StatusError, match=r"3 of its candidates were forgotten"):
            store.set_status(experiment, Status.QUEUED)

    def test_deleting(self, store: SqlStore, supernet: SupernetRecord, add: Add, done: str) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(other, {"top1": np.zeros(3)}, [0])
        store.put_supernet(supernet)
        before = store.counts()
        store.delete_experiment(done)
        with pytest.raises(UnknownNameError):
            store.get(done)
        after = store.counts()
        assert (before.candidates, after.candidates) == (33, 3)
        assert (before.front_members, after.front_members, before.exports, after.exports) == (1, 0, 1, 0)
        assert (before.generations, after.generations, after.supernets) == (2, 1, 1)
        assert self.ids(store, other) == [0, 1, 2]

    def test_what_runs_is_not_deleted(self, store: SqlStore, add: Add, experiment: str) -> None:
        add(experiment, {"top1": np.zeros(3)})
        store.claim(experiment)
        with pytest.raises(StatusError, match="cancel it"):
            store.delete_experiment(experiment)
        assert store.count_candidates(experiment) == 3

    def test_one_that_is_resumed_before_anything_is_gone_is_left_whole(
        self, store: SqlStore, add: Add, done: str, experiment: str
    ) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(other, {"top1": np.zeros(9)}, range(7))
        store.set_status(other, Status.CANCELLED)
        parts = store._removed(other, sql_operations._not_needed(True), Status.CANCELLED)
        assert next(parts) == 0  # as the front stays
        store.set_status(other, Status.QUEUED)
        with pytest.raises(StatusError, match="QUEUED and not CANCELLED any more"):
            sum(parts)
        for remove in (store.delete_experiment, store.forget_candidates):
            with pytest.raises(StatusError, match="QUEUED and not FAILED any more"):
                remove(other, expected=Status.FAILED)
        assert (store.get(other).forgotten, store.count_candidates(other)) == (0, 9)
        assert store.claim(other).status is Status.RUNNING

    def test_one_that_is_half_gone_is_neither_claimed_nor_resumed(
        self, store: SqlStore, add: Add, done: str
    ) -> None:
        other = store.create_experiment("other", {}, 0).id
        add(other, {"top1": np.zeros(9)})
        removed = store._removed
        seen = []

        def claimed_meanwhile(
            experiment_id: str, which: Sequence[ColumnElement[bool]], status: Status
        ) -> Iterator[int]:
            for n in removed(experiment_id, which, status):
                yield n
                seen.append(store.get(other).status)
                assert store.claim_next() is None
                with pytest.raises(StatusError):
                    store.claim(other)
                if store.get(other).forgotten:
                    with pytest.raises(StatusError, match="forgotten"):
                        store.set_status(other, Status.QUEUED)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_removed", claimed_meanwhile)
            store.delete_experiment(other)
        assert set(seen) == {Status.CANCELLED}
        assert len(seen) == 2
        with pytest.raises(UnknownNameError):
            store.get(other)

    def test_counts(self, store: SqlStore, done: str) -> None:
        found = store.counts()
        assert dict(found.experiments) == {status: int(status is Status.COMPLETED) for status in Status}
        assert (found.candidates, found.front_members, found.trials, found.tables) == (30, 1, 0, 0)

    def test_upkeep_changes_nothing_that_is_seen(self, store: SqlStore, done: str) -> None:
        before = store.candidates(done).items, store.get(done)
        store.upkeep()
        assert (store.candidates(done).items, store.get(done)) == before
        store.ping()
