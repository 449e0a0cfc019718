"""Copies of a SQLite store: made while it is used, and checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.store.backups import check_backup, owners_in
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


def test_what_is_there_is_not_overwritten(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "copy.sqlite").write_text("mine")
    with pytest.raises(StorageError, match="another name"):
        store.backup(tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").read_text() == "mine"
    with pytest.raises(StorageError, match="unable to open"):
        store.backup(tmp_path / "missing" / "copy.sqlite")


def test_a_damaged_copy_is_refused(store: SqlStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    store.backup(copy)
    check_backup(copy)
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
            check_backup(copy)
    with pytest.raises(MissingFileError, match="no backup"):
        check_backup(tmp_path / "none.sqlite")


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "recipes.sqlite")
    raw.execute("CREATE TABLE recipes (name TEXT)")
    raw.close()
    with pytest.raises(CorruptFileError, match="no sound copy"):
        check_backup(tmp_path / "recipes.sqlite")


def test_who_holds_experiments_is_read_without_changing_anything(store: SqlStore, file: Path) -> None:
    assert owners_in(file) == []
    store.claim(store.list_experiments().items[0].id)
    assert owners_in(file) == [Owner.current()]
    store.close()
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0002'")
    raw.close()
    before = contents(file)
    assert owners_in(file) == [Owner.current()]
    assert contents(file) == before  # it was not migrated
    file.write_bytes(b"damaged" * 9999)
    assert owners_in(file) == []
    assert owners_in(file.with_name("none.sqlite")) == []
