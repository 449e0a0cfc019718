"""What counts as progress of an experiment that crashes again and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import PredictorRecord, SupernetRecord, TableRecord
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker import tries
from bitfront.experiments.worker.tries import begin_try, forget_tries, tries_without_progress
from bitfront.supernet.errors import StorageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        opened.put_supernet(SupernetRecord("net", "digits", "h", "digits", "ab", {}, "net", {}, "ready"))
        opened.put_predictor(PredictorRecord("p", "net", "fp32", "p.safetensors", {}))
        opened.put_table(TableRecord("t", "bitfusion", "h", "t.json", {}))
        yield opened


@pytest.fixture
def one(store: Store) -> str:
    made = store.create_experiment("one", {}, 0).id
    store.claim(made)
    return made


def others_work(home: Path) -> None:
    (home / "tables").mkdir(exist_ok=True)
    for path in (home / "tuning.sqlite", home / "tables" / "other.json"):
        with path.open("a") as file:
            file.write("more")


def test_shared_files_count_until_what_they_become_is_linked(store: Store, tmp_path: Path, one: str) -> None:
    begin_try(store, tmp_path, store.get(one))
    others_work(tmp_path)
    assert tries_without_progress(store, tmp_path, store.get(one)) == 0
    store.link(one, supernet_id="net", predictor_id="p", table_id="t")
    begin_try(store, tmp_path, store.get(one))
    others_work(tmp_path)
    assert tries_without_progress(store, tmp_path, store.get(one)) == 1
    checkpoint = tmp_path / "supernets" / "net" / "checkpoint.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert tries_without_progress(store, tmp_path, store.get(one)) == 0


def test_files_that_vanish_while_they_are_looked_at(
    store: Store, tmp_path: Path, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_work(tmp_path)
    before = tries._mark(store, tmp_path, store.get(one))
    inner = Path.glob

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        yield from inner(self, pattern)
        yield self / "gone.json"

    monkeypatch.setattr(Path, "glob", glob)
    assert tries._mark(store, tmp_path, store.get(one)) == before


def test_a_count_that_can_not_be_deleted_is_told(
    store: Store, tmp_path: Path, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    begin_try(store, tmp_path, store.get(one))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(StorageError, match=r"tries\.json: Permission denied"):
            forget_tries(tmp_path, one)
    store.set_status(one, Status.INTERRUPTED)
    forget_tries(tmp_path, one)
    assert tries_without_progress(store, tmp_path, store.get(one)) == 0
