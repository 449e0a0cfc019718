"""A home in one file and back: whole, checked, and never half done."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.upkeep import restore
from bitfront.experiments.upkeep.archive import MANIFEST
from bitfront.experiments.upkeep.backup import BackupError, back_up
from bitfront.experiments.upkeep.restore import RESTORED, put_back
from bitfront.experiments.worker.roster import WorkerRecord, write_record
from bitfront.supernet.errors import BitfrontError, CorruptFileError, MissingFileError, StorageError

Call = Callable[..., Result]
Find = Callable[[Store, str], None]


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture
def done(store: Store, spec: dict[str, Any], find: Find, home: Path) -> str:
    """A completed experiment with files of all kinds around it."""
    one = store.create_experiment("one", spec, 3).id
    store.claim(one)
    find(store, one)
    store.set_status(one, Status.COMPLETED)
    for name, data in {
        "supernets/net/supernet.safetensors": os.urandom(3_000_000),
        "tables/a.json": b"{}",
        "tables/.a.json.123.part": b"half",
        "experiments/ü/empty": b"",
        "workers/h-1.json": b"{}",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    with closing(sqlite3.connect(home / "tuning.sqlite")) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("INSERT INTO t VALUES (7)")
        other.commit()
    return one


@pytest.fixture
def archive(store: Store, home: Path, done: str, tmp_path: Path) -> Path:
    path = tmp_path / "backups" / "home.tar"
    back_up(store, home, path, quiet)
    return path


def contents(home: Path) -> dict[str, str]:
    found = (path for path in home.rglob("*") if path.is_file() and not path.name.startswith("bitfront.sqlite"))
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rewrite(archive: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> None:
    with tarfile.open(archive) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(archive, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class TestRoundTrip:
    def test_all_comes_back_elsewhere(self, archive: Path, home: Path, done: str, tmp_path: Path) -> None:
        other = tmp_path / "other"
        count = put_back(archive, other, False, quiet)
        expected = contents(home)
        for left_out in ("workers/h-1.json", "tables/.a.json.123.part"):
            del expected[left_out]
        expected.pop("tuning.sqlite")
        found = contents(other)
        found.pop("tuning.sqlite")
        assert found == expected
        assert count == len(expected) + 2  # and the two databases
        with closing(sqlite3.connect(other / "tuning.sqlite")) as tuning:
            assert tuning.execute("SELECT x FROM t").fetchall() == [(7,)]
        with open_store(home) as before, open_store(other) as after:
            assert after.get(done) == before.get(done)
            assert after.front(done) == before.front(done)
            assert after.candidates(done).items == before.candidates(done).items
            # Where files are is said anew.
            assert after.exports(done)[0].path == before.exports(done)[0].path.replace(str(home), str(other))
            assert after.supernet("net") == before.supernet("net")

    def test_it_is_made_while_an_experiment_runs_which_is_interrupted_when_it_is_restored(
        self, store: Store, home: Path, done: str, spec: dict[str, Any], tmp_path: Path
    ) -> None:
        running, ending, waiting = (store.create_experiment("x", spec, 0).id for _ in range(3))
        store.claim(running)
        store.claim(ending)
        store.set_status(ending, Status.CANCELLING)
        back_up(store, home, tmp_path / "home.tar", quiet)
        put_back(tmp_path / "home.tar", tmp_path / "other", False, quiet)
        with open_store(tmp_path / "other") as after:
            assert (after.get(running).status, after.get(running).reason) == (Status.INTERRUPTED, RESTORED)
            assert after.get(ending).status is Status.CANCELLED
            assert after.get(waiting).status is Status.QUEUED
        assert store.get(running).status is Status.RUNNING

    def test_it_ends_beside_somebody_who_writes_without_a_pause(
        self, store: Store, home: Path, tmp_path: Path
    ) -> None:
        for i in range(20):
            store.create_experiment("large", {"text": f"{i}" * 2**20}, 0)
        enough = threading.Event()

        def write() -> None:
            while not enough.is_set():
                store.create_experiment("small", {}, 0)

        writer = threading.Thread(target=write)
        backup = threading.Thread(target=store.backup, args=(tmp_path / "copy.sqlite",), daemon=True)
        writer.start()
        backup.start()
        backup.join(60)
        enough.set()
        writer.join()
        assert not backup.is_alive()
        assert (tmp_path / "copy.sqlite").stat().st_size > 20 * 2**20

    def test_an_archive_inside_the_home_does_not_hold_itself(self, store: Store, home: Path, done: str) -> None:
        back_up(store, home, home / "first.tar", quiet)
        back_up(store, home, home / "second.tar", quiet)
        with tarfile.open(home / "second.tar") as tar:
            names = tar.getnames()
        assert "first.tar" in names
        assert "second.tar" not in names
        assert names[-1] == MANIFEST
        assert not [path.name for path in home.iterdir() if path.name.startswith(".")]

    def test_commands(self, call: Call, home: Path, done: str, tmp_path: Path) -> None:
        file = tmp_path / "home.tar"
        assert "wrote" in call("backup", file).stderr
        assert call("backup", file).exit_code == 1
        assert "--force" in call("restore", file).stderr
        (home / "tables" / "a.json").write_text("changed")
        assert call("restore", file, "--force").exit_code == 0
        assert (home / "tables" / "a.json").read_text() == "{}"
        assert not [path for path in home.parent.iterdir() if path.name.startswith(".")]
        assert call("show", done).exit_code == 0


class TestRefused:
    def check_unchanged(self, archive: Path, home: Path, error: type[BitfrontError], match: str) -> None:
        before = contents(home)
        with pytest.raises(error, match=match):
            put_back(archive, home, True, quiet)
        assert contents(home) == before
        assert not [path for path in home.parent.iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize(
        ("name", "data", "match"),
        [
            ("supernets/net/supernet.safetensors", b"other", "supernet.safetensors is not what was written"),
            ("bitfront.sqlite", b"other", "bitfront.sqlite is not what was written"),
            (MANIFEST, b"{", "no JSON"),
            (MANIFEST, b"[]", "not one"),
            (MANIFEST, b'{"sha256": {}, "format": 2}', "upgrade bitfront"),
            (MANIFEST, b'{"sha256": {"more": "ab"}, "format": 1}', "is not what was written|is missing"),
        ],
    )
    def test_changed(self, archive: Path, home: Path, name: str, data: bytes, match: str) -> None:
        def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            members[:] = [(info, data if info.name == name else old) for info, old in members]

        rewrite(archive, change)
        self.check_unchanged(archive, home, CorruptFileError, match)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.995])
    def test_cut_off(self, archive: Path, home: Path, share: float) -> None:
        whole = archive.read_bytes()
        archive.write_bytes(whole[: int(len(whole) * share)])
        self.check_unchanged(archive, home, CorruptFileError, "no whole backup")

    def test_missing_member(self, archive: Path, home: Path) -> None:
        def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            del members[1]

        rewrite(archive, change)
        self.check_unchanged(archive, home, CorruptFileError, "is missing")

    @pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "//tmp/evil", "///tmp/evil", "a/../../evil"])
    def test_names_that_lead_out(self, archive: Path, home: Path, name: str) -> None:
        rewrite(archive, lambda members: members.insert(0, (tarfile.TarInfo(name), b"x")))
        self.check_unchanged(archive, home, CorruptFileError, "no file that a backup holds")
        assert not (home.parent / "evil").exists()

    def test_links(self, archive: Path, home: Path) -> None:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        rewrite(archive, lambda members: members.insert(0, (link, b"")))
        self.check_unchanged(archive, home, CorruptFileError, "link")

    def test_other_files(self, home: Path, done: str, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(b"no tar" * 1000)
        self.check_unchanged(tmp_path / "x.tar", home, CorruptFileError, "no whole backup")
        self.check_unchanged(tmp_path / "none.tar", home, MissingFileError, "none.tar")

    def test_sums_that_are_right_of_a_store_that_is_not(self, archive: Path, home: Path) -> None:
        def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            info, text = members[-1]
            manifest = json.loads(text)
            manifest["sha256"]["bitfront.sqlite"] = hashlib.sha256(b"no store").hexdigest()
            members[-1] = (info, json.dumps(manifest).encode())
            members[0] = (members[0][0], b"no store")

        rewrite(archive, change)
        self.check_unchanged(archive, home, CorruptFileError, "no sound copy")

    def test_a_home_that_is_used(self, archive: Path, home: Path, store: Store, spec: dict[str, Any]) -> None:
        one = store.create_experiment("x", spec, 0).id
        store.claim(one)
        self.check_unchanged(archive, home, BackupError, "works on an experiment")
        store.set_status(one, Status.INTERRUPTED)
        write_record(home, WorkerRecord(Owner.current(), 1))
        self.check_unchanged(archive, home, BackupError, "stop it first")

    def test_a_swap_that_fails_half_way(self, archive: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = Path.rename

        def rename(self: Path, target: Path) -> Path:
            if self.name.endswith(".restoring"):
                raise OSError(28, "No space left on device")
            return inner(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        self.check_unchanged(archive, home, StorageError, "No space left")

    def test_a_damaged_home_is_what_a_backup_is_for(self, archive: Path, home: Path, done: str) -> None:
        for path in home.glob("bitfront.sqlite*"):
            path.write_bytes(b"damaged" * 1000)
        put_back(archive, home, True, quiet)
        with open_store(home) as store:
            assert store.get(done).status is Status.COMPLETED

    def test_a_full_disk_while_it_is_written(
        self, store: Store, home: Path, done: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        target = tmp_path / "backups"
        target.mkdir()
        monkeypatch.setattr(SqlStore, "backup", lambda self, path: shutil.copy(home / "bitfront.sqlite", path))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            back_up(store, home, target / "home.tar", quiet)
        assert not list(target.iterdir())

    def test_a_store_that_vanished_is_no_home(self, home: Path, archive: Path) -> None:
        assert restore._working(home.parent / "nowhere" / "x") == []
