"""What every store promises of what experiments share: trials, supernets, predictors and cost tables."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.records import PredictorRecord, SupernetRecord, TableRecord, Trials
from bitfront.supernet.errors import NumericalError

Opener = Callable[[], Store]


class TestShared:
    def test_trials_are_kept_once(
        self, opener: Opener, supernet: SupernetRecord, rng: np.random.Generator
    ) -> None:
        genomes = rng.permutation(70).reshape(10, 7).astype(np.uint8)
        top1, seconds = rng.random(10), rng.random(10)
        with opener() as store:
            store.put_supernet(supernet)
            store.put_supernet(replace(supernet, id="other"))
            assert store.add_trials("ab12", "validation", "fp32", Trials(genomes[:6], top1[:6], seconds[:6])) == 6
            again = Trials(genomes[4:], np.zeros(6), seconds[4:])
            assert store.add_trials("ab12", "validation", "quantized", again) == 4
            assert store.add_trials("ab12", "test", "quantized", again) == 6
            assert store.add_trials("other", "validation", "fp32", Trials(genomes[:1], top1[:1], seconds[:1])) == 1
            assert store.add_trials("ab12", "test", "fp32", Trials(genomes[:0], top1[:0], seconds[:0])) == 0
        with opener() as store:
            found = store.trials("ab12", "validation", "fp32")
            both = store.trials("ab12", "validation")
            none = store.trials("missing", "test")
        np.testing.assert_array_equal(found.genomes, genomes[:6])
        np.testing.assert_array_equal(found.top1, top1[:6])
        np.testing.assert_array_equal(found.seconds, seconds[:6])
        np.testing.assert_array_equal(both.genomes, genomes)
        assert both.lookup()[genomes[5].tobytes()] == top1[5]
        assert len(none.genomes) == len(none.top1) == 0

    def test_trials_need_a_supernet_and_a_fraction(self, store: Store, rng: np.random.Generator) -> None:
        genomes = rng.permutation(14).reshape(2, 7).astype(np.uint8)
        with pytest.raises(ConflictError):
            store.add_trials("missing", "test", "fp32", Trials(genomes, np.zeros(2), np.zeros(2)))
        for bad in (math.nan, -0.1, 97.5):
            with pytest.raises(NumericalError, match="top1 of row 1"):
                Trials(genomes, np.array([0.5, bad]), np.zeros(2))

    def test_supernets(self, store: Store, supernet: SupernetRecord) -> None:
        assert store.supernet("ab12") is None
        store.put_supernet(supernet)
        newer = replace(supernet, state="ready", metrics={"top1": 0.98}, created_at=datetime.now(UTC))
        store.put_supernet(newer)
        found = store.supernet("ab12")
        assert found == newer
        assert found is not None
        assert found.created_at == supernet.created_at

    def test_predictors(self, store: Store, supernet: SupernetRecord) -> None:
        first = PredictorRecord("p1", "ab12", "fp32", "p1.safetensors", {"kendall_tau": 0.7})
        with pytest.raises(ConflictError):
            store.put_predictor(first)
        store.put_supernet(supernet)
        store.put_predictor(first)
        store.put_predictor(replace(first, id="p0", kind="transferred", created_at=datetime.now(UTC)))
        store.put_predictor(replace(first, metrics={}))
        assert [one.id for one in store.predictors("ab12")] == ["p1", "p0"]
        store.put_supernet(replace(supernet, id="cd34"))
        store.put_predictor(replace(first, id="p2", supernet_id="cd34", created_at=datetime.now(UTC)))
        assert [one.id for one in store.predictors()] == ["p1", "p0", "p2"]
        assert [one.id for one in store.predictors("cd34")] == ["p2"]
        assert store.predictor("p1") == replace(first, metrics={})
        assert (store.predictor("none"), store.predictors("none")) == (None, ())

    def test_tables(self, store: Store) -> None:
        record = TableRecord("t1", "bitfusion", "s1", "t1.json", {"date": "2024-05-06"})
        store.put_table(record)
        store.put_table(replace(record, id="t0", device="host", created_at=datetime.now(UTC)))
        store.put_table(replace(record, path="t1b.json"))
        assert store.table("t1") == replace(record, path="t1b.json")
        assert store.table("t2") is None
        assert [one.id for one in store.tables()] == ["t1", "t0"]
        assert [one.id for one in store.tables("host")] == ["t0"]

    def test_two_openers_see_one_store(self, opener: Opener, store: Store, experiment: str) -> None:
        with opener() as other:
            other.set_stage(experiment, "search")
            assert store.get(experiment).stage == "search"

    def test_several_that_store_one_thing_at_once(self, opener: Opener, store: Store) -> None:
        """Two workers that made the same table: both have it, and neither is refused."""
        begin, failed = threading.Barrier(6), list[BaseException]()

        def put(number: int) -> None:
            try:
                with opener() as mine:
                    for round_ in range(10):
                        begin.wait(30)
                        mine.put_table(TableRecord(f"t{round_}", "host", "h", str(number), {}))
                        mine.put_supernet(
                            SupernetRecord(f"s{round_}", "a", "h", "d", "h", {}, str(number), {}, "ready")
                        )
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(store.tables()) == 10
