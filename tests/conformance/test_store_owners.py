"""Who works on an experiment alone changes it: one that was given up, and lives after all, does so no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bitfront.experiments.store.errors import StatusError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import CandidateBatch, ExportRecord, Generation, Measurement, TableRecord
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status

ELSEWHERE = Owner("elsewhere", 1, "")
GENOMES = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    """One with a table."""
    store.put_table(TableRecord("t", "host", "h", "p", {}))
    return store


@pytest.fixture
def taken(store: SqlStore) -> str:
    """An experiment with two candidates, one of them a front member, that another process works on by now."""
    made = store.create_experiment("digits", {"space": "digits"}, 0).id
    store.add_generation(made, Generation(0, 2, 0.5), CandidateBatch(GENOMES, {}), GENOMES[:1], {})
    store.add_front_members(made, [0])
    store.claim(made, ELSEWHERE)
    return made


Change = Callable[[SqlStore, str, Owner], object]
EMPTY = CandidateBatch(GENOMES[:0], {})
CHANGES: dict[str, Change] = {
    "generation": lambda store, one, owner: store.add_generation(
        one, Generation(1, 2, 0.5), EMPTY, GENOMES[:1], {}, owner
    ),
    "stage": lambda store, one, owner: store.set_stage(one, "training", owner),
    "link": lambda store, one, owner: store.link(one, table_id="t", owner=owner),
    "status": lambda store, one, owner: store.set_status(one, Status.FAILED, "it broke", owner=owner),
    "front": lambda store, one, owner: store.add_front_members(one, [1], owner),
    "measurement": lambda store, one, owner: store.measure_front_members(one, [Measurement(0, 0.5)], owner),
    "export": lambda store, one, owner: store.put_export(one, ExportRecord(0, "onnx", "p", "ab", None), owner),
}


@pytest.mark.parametrize("what", CHANGES)
def test_only_who_holds_it_changes_it(store: SqlStore, taken: str, what: str) -> None:
    before = seen(store, taken)
    with pytest.raises(StatusError, match=r"not held by process .* any more"):
        CHANGES[what](store, taken, Owner.current())
    assert seen(store, taken) == before
    CHANGES[what](store, taken, ELSEWHERE)
    assert seen(store, taken) != before


@pytest.mark.parametrize("what", CHANGES)
def test_nobody_holds_what_was_given_up(store: SqlStore, taken: str, what: str) -> None:
    store.set_status(taken, Status.INTERRUPTED)
    with pytest.raises(StatusError, match="INTERRUPTED and not held"):
        CHANGES[what](store, taken, ELSEWHERE)


def seen(store: SqlStore, one: str) -> tuple[object, ...]:
    return store.get(one), store.generations(one), store.front(one), store.exports(one)
