"""Metrics by column say what the rows say, whatever was added, forgotten and read in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, select

from bitfront.experiments.store.column_cache import ColumnCache
from bitfront.experiments.store.engine import reading, writing
from bitfront.experiments.store.filters import Filter
from bitfront.experiments.store.known_genomes import KnownGenomes
from bitfront.experiments.store.metric_blocks import BLOCK, DIGEST, digests_of, read_columns
from bitfront.experiments.store.records import CandidateBatch, Generation
from bitfront.experiments.store.schema import candidates, metric_blocks
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.sql_experiments import number_of
from bitfront.experiments.store.statuses import Status

NAMES = ("top1", "latency_ms", "macs", "latency_ms@a", DIGEST)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with SqlStore(f"sqlite:///{tmp_path}/bitfront.sqlite") as made:
        yield made


def add(
    store: SqlStore, experiment: str, n: int, rng: np.random.Generator, metrics: tuple[str, ...], failed: int = 0
) -> None:
    """One generation more, whose first member alone is the front."""
    index = len(store.generations(experiment))
    genomes = rng.integers(0, 255, (n, 6), dtype=np.uint8)
    values = {name: rng.random(n) for name in metrics}
    batch = CandidateBatch(genomes, values, dict.fromkeys(range(failed), "failed"))
    store.add_generation(experiment, Generation(index, n, 0.5), batch, genomes[:1], {})


def begin(store: SqlStore) -> str:
    return store.claim(store.create_experiment("a", {}, 0).id).id


def check(store: SqlStore, experiment: str, cache: ColumnCache | None = None, key: tuple[object, ...] = ()) -> int:
    """Compare the columns with the rows; returns how many there are."""
    with reading(store._engine) as connection:
        number = number_of(connection, experiment)
        columns = read_columns(connection, number, NAMES, cache, key)
        query = select(candidates).where(candidates.c.experiment_number == number)
        rows = connection.execute(query.order_by(candidates.c.number)).all()
    assert columns.numbers.tolist() == [row.number for row in rows]
    for name in NAMES[:-1]:
        values = [(row.by_device or {}).get(name) if "@" in name else getattr(row, name) for row in rows]
        np.testing.assert_array_equal(columns.values[name], np.array(values, dtype=float))
    np.testing.assert_array_equal(columns.values[DIGEST], digests_of([row.genome for row in rows]))
    return len(rows)


def store_number(store: SqlStore, experiment: str) -> int:
    with reading(store._engine) as connection:
        return number_of(connection, experiment)


def test_columns_are_the_rows(store: SqlStore, rng: np.random.Generator) -> None:
    experiment, other, cache = begin(store), begin(store), ColumnCache()
    total = 0
    for n in (1, 3, BLOCK - 4, 1, 2 * BLOCK + 7, 5):
        add(store, experiment, n, rng, ("top1", "latency_ms", "latency_ms@a"), failed=min(n - 1, 2))
        add(store, other, 2, rng, ("top1",))
        total += n
        for _ in range(2):
            assert check(store, experiment, cache) == total
    assert check(store, experiment) == total


def test_metrics_that_come_and_go(store: SqlStore, rng: np.random.Generator) -> None:
    experiment, cache = begin(store), ColumnCache()
    for metrics in (("top1",), ("macs",), ("top1", "macs"), ("latency_ms@a",)):
        for n in (BLOCK, 30):
            add(store, experiment, n, rng, metrics)
            check(store, experiment, cache)


def test_a_block_is_filled_before_the_next_begins(store: SqlStore, rng: np.random.Generator) -> None:
    experiment = begin(store)
    for _ in range(50):
        add(store, experiment, 25, rng, ("top1",))
    with reading(store._engine) as connection:
        firsts = connection.execute(select(metric_blocks.c.first).where(metric_blocks.c.metric == "top1"))
        assert len(firsts.all()) == -(-50 * 25 // BLOCK)


@pytest.mark.parametrize("at_once", [7, 100, BLOCK, 20_000])
def test_what_is_forgotten_leaves_the_columns(
    store: SqlStore, rng: np.random.Generator, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitfront.experiments.store.sql_operations._AT_ONCE", at_once)
    experiment = begin(store)
    for n in (300, 300, 300):
        add(store, experiment, n, rng, ("top1", "latency_ms@a"))
    store.add_front_members(experiment, [5, 299, 300, 700])
    assert store.count_candidates(experiment, [Filter("top1", ">=", 0)]) == 900  # which is kept in the cache
    store.set_status(experiment, Status.COMPLETED)
    assert store.forget_candidates(experiment) == 895
    assert check(store, experiment) == 5
    every = [Filter("top1", ">=", 0)]
    assert store.count_candidates(experiment) == store.count_candidates(experiment, every) == 5
    found = store.candidates(experiment, order="-id", where=every).items
    assert [one.id for one in found] == [700, 600, 300, 299, 5]


def test_a_reader_sees_one_state_whatever_others_kept_since(store: SqlStore, rng: np.random.Generator) -> None:
    experiment, cache = begin(store), ColumnCache()
    add(store, experiment, BLOCK - 10, rng, ("top1",))
    number = store_number(store, experiment)
    with reading(store._engine) as early:
        before = read_columns(early, number, ["top1"], cache, ("k",))
        add(store, experiment, 3 * BLOCK, rng, ("top1",))
        with reading(store._engine) as late:
            after = read_columns(late, number, ["top1"], cache, ("k",))
        again = read_columns(early, number, ["top1"], cache, ("k",))
    assert len(after.numbers) == 4 * BLOCK - 10
    for name in ("top1",):
        np.testing.assert_array_equal(again.values[name], before.values[name])
        np.testing.assert_array_equal(after.values[name][: BLOCK - 10], before.values[name])
    assert len(again.numbers) == BLOCK - 10


def test_the_least_used_column_makes_room(store: SqlStore, rng: np.random.Generator) -> None:
    cache = ColumnCache(most_bytes=3 * 8 * 2 * BLOCK)
    experiments = [begin(store) for _ in range(6)]
    for experiment in experiments:
        add(store, experiment, BLOCK + 5, rng, ("top1",))
    for experiment in experiments * 2:
        check(store, experiment, cache, (experiment,))
    assert sum(one.buffer.nbytes for one in cache._kept.values()) <= 3 * 8 * 2 * BLOCK
    assert cache._kept


def test_known_genomes_are_checked_themselves(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where all digests are the same, each genome is stored once."""
    monkeypatch.setattr(
        "bitfront.experiments.store.sql_search.digests_of",
        lambda genomes: np.full(len(genomes), 3, dtype=np.int64),
    )
    experiment = begin(store)
    genomes = np.array([[1, 2], [1, 3]], dtype=np.uint8)
    for index, rows in enumerate(([0, 0], [1, 0])):
        batch = CandidateBatch(genomes[rows], {"top1": np.full(2, 0.5)})
        store.add_generation(experiment, Generation(index, 2, 0.5), batch, genomes[:1], {})
    assert [one.genome for one in store.candidates(experiment).items] == [b"\x01\x02", b"\x01\x03"]


def test_what_one_process_knows_is_not_believed_after_another_added(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bitfront.sqlite"
    genomes = np.arange(8, dtype=np.uint8).reshape(4, 2)

    def added(store: SqlStore, index: int, rows: list[int]) -> None:
        batch = CandidateBatch(genomes[rows], {"top1": np.full(len(rows), 0.5)})
        store.add_generation(experiment, Generation(index, 1, 0.5), batch, genomes[rows[:1]], {})

    with SqlStore(url) as first, SqlStore(url) as second:
        experiment = begin(first)
        added(first, 0, [0, 1])
        added(second, 1, [2])
        added(first, 2, [2, 1, 3])
        assert [one.genome for one in first.candidates(experiment).items] == [bytes(row) for row in genomes]


def test_runs_stay_few(rng: np.random.Generator) -> None:
    known = KnownGenomes(1, None, ())
    for index in range(200):
        values = rng.integers(-(2**62), 2**62, 20)
        known = known.after((index, datetime.now(UTC)), values, np.arange(20) + 20 * index)
    assert len(known.runs) < 12
    assert sum(len(digests) for digests, _ in known.runs) == 4000
    assert all((np.diff(digests) >= 0).all() for digests, _ in known.runs)


def test_rows_of_a_program_that_knows_no_columns_are_taken_in(store: SqlStore, rng: np.random.Generator) -> None:
    """As of an older version that was still running when the store was brought to this one."""
    experiment = begin(store)
    add(store, experiment, 30, rng, ("top1", "latency_ms@a"))
    with writing(store._engine) as connection:
        number = number_of(connection, experiment)
        for i in range(30, 30 + BLOCK):
            values = {
                "number": i,
                "generation_index": 0,
                "genome": bytes([7, i % 256, i // 256]),
                "on_front": False,
            }
            connection.execute(insert(candidates).values(experiment_number=number, top1=0.5, **values))
    genomes = np.array([[7, 30, 0], [9, 9, 9]], dtype=np.uint8)
    batch = CandidateBatch(genomes, {"top1": np.full(2, 0.25)})
    with SqlStore(store._engine.url) as other:
        other.add_generation(experiment, Generation(1, 2, 0.5), batch, genomes[:1], {})
        assert check(other, experiment) == 30 + BLOCK + 1
