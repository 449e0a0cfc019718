"""Copies of a SQLite store: made while it is used, checked, put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.store.backups import check_backup, restore
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import CandidateBatch, Generation
from bitfront.experiments.store.sql import SqlStore
from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "bitfront.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    """A store with an experiment of 3000 candidates."""
    with SqlStore(f"sqlite:///{file}") as opened:
        one = opened.create_experiment("a", {}, 0).id
        numbers = np.arange(3000)
        genomes = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
        batch = CandidateBatch(genomes, {"top1": np.linspace(0, 1, 3000)})
        opened.add_generation(one, Generation(0, 3000, 0.1), batch, genomes[:5], {"i": 0})
        yield opened


def contents(path: Path) -> list[str]:
    raw = sqlite3.connect(path)
    lines = list(raw.iterdump())
    raw.close()
    return lines


def test_a_copy_is_the_store_as_it_was(store: SqlStore, file: Path, tmp_path: Path) -> None:
    before = contents(file)
    store.backup(tmp_path / "copy.sqlite")
    store.create_experiment("later", {}, 0)
    assert contents(tmp_path / "copy.sqlite") == before != contents(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "home"]
    with SqlStore(f"sqlite:///{tmp_path}/copy.sqlite") as copy:
        assert [one.name for one in copy.list_experiments().items] == ["a"]


def test_a_copy_while_a_writer_is_half_way(store: SqlStore, file: Path, tmp_path: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE experiments SET stage = 'half way'")
    store.backup(tmp_path / "copy.sqlite")
    other.execute("COMMIT")
    other.close()
    with SqlStore(f"sqlite:///{tmp_path}/copy.sqlite") as copy:
        assert [one.stage for one in copy.list_experiments().items] == [""]


def test_restored_under_a_store_that_is_open(store: SqlStore, file: Path, tmp_path: Path) -> None:
    store.backup(tmp_path / "copy.sqlite")
    made = store.list_experiments().items
    store.delete_experiment(made[0].id)
    restore(tmp_path / "copy.sqlite", file)
    assert store.list_experiments().items == made
    assert store.count_candidates(made[0].id) == 3000
    store.set_stage(made[0].id, "goes on")


def test_restored_where_there_is_none(store: SqlStore, tmp_path: Path) -> None:
    store.backup(tmp_path / "copy.sqlite")
    restore(tmp_path / "copy.sqlite", tmp_path / "new" / "bitfront.sqlite")
    with SqlStore(f"sqlite:///{tmp_path}/new/bitfront.sqlite") as found:
        assert found.list_experiments().items == store.list_experiments().items


def test_restored_over_a_damaged_store(store: SqlStore, file: Path, tmp_path: Path) -> None:
    store.backup(tmp_path / "copy.sqlite")
    made = store.list_experiments().items
    store.close()
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(8192)
        raw.write(b"\xa5" * (size - 8192))
    restore(tmp_path / "copy.sqlite", file)
    with SqlStore(f"sqlite:///{file}") as found:
        assert found.list_experiments().items == made


def test_what_is_there_is_not_overwritten(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "copy.sqlite").write_text("mine")
    with pytest.raises(StorageError, match="another name"):
        store.backup(tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").read_text() == "mine"
    with pytest.raises(StorageError, match="unable to open"):
        store.backup(tmp_path / "missing" / "copy.sqlite")


def test_a_damaged_copy_is_refused_and_the_store_untouched(store: SqlStore, file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    store.backup(copy)
    before = contents(file)
    whole = copy.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[:middle] + b"\xa5" * 9000 + whole[middle + 9000 :],
        b"no database" * 99,
        b"",
    ):
        copy.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match="use another"):
            restore(copy, file)
    with pytest.raises(MissingFileError, match="no backup"):
        check_backup(tmp_path / "none.sqlite")
    assert contents(file) == before


def test_another_programs_file_is_refused(file: Path, tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "recipes.sqlite")
    raw.execute("CREATE TABLE recipes (name TEXT)")
    raw.close()
    with pytest.raises(CorruptFileError, match="no sound copy"):
        restore(tmp_path / "recipes.sqlite", file)
    assert not file.exists()


def test_not_under_a_living_process(store: SqlStore, file: Path, tmp_path: Path) -> None:
    store.backup(tmp_path / "copy.sqlite")
    one = store.list_experiments().items[0].id
    store.claim(one)
    with pytest.raises(ConflictError, match=f"works on '{one}'"):
        restore(tmp_path / "copy.sqlite", file)
    assert store.get(one).owner == Owner.current()
