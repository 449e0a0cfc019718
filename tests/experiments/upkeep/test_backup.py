"""A home in one file and back: whole, checked, and never half done."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.store import swapping
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.store.swapping import NEW, in_use
from bitfront.experiments.upkeep import mounts, restore
from bitfront.experiments.upkeep.archive import MANIFEST, about
from bitfront.experiments.upkeep.backup import BackupError, back_up
from bitfront.experiments.upkeep.restore import RESTORED, put_back
from bitfront.experiments.worker.roster import WorkerRecord, write_record
from bitfront.supernet.errors import (
    BitfrontError,
    CorruptFileError,
    MissingFileError,
    StorageError,
    UnsupportedError,
)

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


def befall(archive: Path, home: Path, scratch: Path) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(archive), str(home), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def rewrite(archive: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> None:
    with tarfile.open(archive) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(archive, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class TestRoundTrip:
    def test_what_belongs_to_the_file_system_stays(
        self, store: Store, home: Path, done: str, tmp_path: Path
    ) -> None:
        for place in (home, tmp_path / "other"):
            (place / "lost+found").mkdir(parents=True)
            (place / "lost+found" / "x").touch()
        inodes = [(place / "lost+found").stat().st_ino for place in (home, tmp_path / "other")]
        path = tmp_path / "home.tar"
        back_up(store, home, path, quiet)
        with tarfile.open(path) as tar:
            assert not [name for name in tar.getnames() if name.startswith("lost+found")]
        for place, force in ((tmp_path / "other", False), (home, True)):
            put_back(path, place, force, quiet)
            assert (place / "lost+found" / "x").is_file()
        assert [(place / "lost+found").stat().st_ino for place in (home, tmp_path / "other")] == inodes

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

    def test_an_archive_deep_inside_the_home_holds_the_store_once(
        self, store: Store, home: Path, done: str
    ) -> None:
        back_up(store, home, home / "my" / "backups" / "home.tar", quiet)
        with tarfile.open(home / "my" / "backups" / "home.tar") as tar:
            names = [name for name in tar.getnames() if name.endswith(".sqlite")]
        assert names == ["bitfront.sqlite", "tuning.sqlite"]

    def test_an_archive_inside_the_home_does_not_hold_itself(self, store: Store, home: Path, done: str) -> None:
        back_up(store, home, home / "first.tar", quiet)
        back_up(store, home, home / "second.tar", quiet)
        with tarfile.open(home / "second.tar") as tar:
            names = tar.getnames()
        assert "first.tar" in names
        assert "second.tar" not in names
        assert names[-1] == MANIFEST
        assert not [path.name for path in home.iterdir() if path.name.startswith(".")]

    def test_links_are_left_out_aloud(
        self, store: Store, home: Path, done: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (home / "supernets" / "other").symlink_to(tmp_path / "elsewhere")
        back_up(store, home, tmp_path / "home.tar", quiet)
        assert [record.getMessage() for record in caplog.records] == [
            f"not in the backup: {home}/supernets/other, as it is a link to {tmp_path}/elsewhere. Back that up too"
        ]

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


class TestPlace:
    """Where the home is, whose it is and who may read it stay as they are."""

    def test_nothing_is_written_beside_the_home(self, archive: Path, home: Path) -> None:
        """Where it is a mount point, or lies in a folder of root's."""
        folder = home.stat().st_ino
        os.utime(home.parent, (1, 1))  # whatever is made, moved or deleted in it would change that
        put_back(archive, home, True, quiet)
        assert (home.parent.stat().st_mtime, home.stat().st_ino) == (1, folder)
        assert not [path.name for path in home.iterdir() if path.name.startswith(".")]

    def test_a_link_to_the_home_stays_one(self, archive: Path, home: Path, done: str) -> None:
        real = home.rename(home.with_name("disk"))
        home.symlink_to(real)
        (real / "tables" / "a.json").write_text("changed")
        put_back(archive, home, True, quiet)
        assert home.is_symlink()
        assert (real / "tables" / "a.json").read_text() == "{}"
        with open_store(home) as store:
            assert store.exports(done)[0].path.startswith(f"{home}/")

    def test_nobody_else_may_read_what_nobody_else_could(self, store: Store, home: Path, done: str) -> None:
        home.chmod(0o750)
        (home / "bitfront.sqlite").chmod(0o600)
        (home / "tables" / "a.json").chmod(0o640)
        archive = home.parent / "home.tar"
        back_up(store, home, archive, quiet)
        other = home.parent / "other"
        put_back(archive, other, False, quiet)
        put_back(archive, home, True, quiet)
        modes = {
            path: stat.S_IMODE(path.stat().st_mode)
            for path in (archive, home, home / "tables", home / "bitfront.sqlite", home / "tables/a.json", other)
        }
        assert list(modes.values()) == [0o600, 0o750, 0o750, 0o600, 0o640, 0o700]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_root_restores_for_whose_home_it_is(self, archive: Path, home: Path) -> None:
        os.chown(home, 12345, 54321)
        put_back(archive, home, True, quiet)
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in [home, *home.rglob("*")]}
        assert owners == {(12345, 54321)}

    def test_killed_at_any_step_it_is_the_old_home_or_the_new_one(
        self, store: Store, home: Path, done: str, tmp_path: Path
    ) -> None:
        store.create_experiment("two", {}, 0)
        (home / "mark.txt").write_text("new")
        back_up(store, home, tmp_path / "home.tar", quiet)
        (home / "mark.txt").write_text("old")
        (home / "only-old").mkdir()
        store.create_experiment("three", {}, 0)
        store.close()
        found = befall(tmp_path / "home.tar", home, tmp_path / "homes")
        is_old = [one["mark"] == "old" for one in found]
        assert is_old == sorted(is_old, reverse=True)
        assert 5 < sum(is_old) < len(found) - 5
        for one in found:
            old = one["mark"] == "old"
            assert one["experiments"] == (["three", "two", "one"] if old else ["two", "one"])
            assert ("only-old" in one["files"]) == old
            assert ("workers" in one["files"]) == old
            assert not [name for name in one["files"] if name.startswith(".") and name != NEW]
        assert NEW not in found[-1]["files"]


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
        """At each of its steps: what goes is moved out, what comes is moved in."""
        inner, left = Path.rename, [0]

        def rename(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            return inner(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        for step in range(1, 15):
            left[0] = step
            self.check_unchanged(archive, home, StorageError, "No space left")
            assert not [path.name for path in home.iterdir() if path.name.startswith(".")]

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

    def test_it_leaves_an_archive_alone_that_lies_in_the_home(self, archive: Path, home: Path) -> None:
        inside = home / "backups" / "home.tar"
        inside.parent.mkdir()
        archive.rename(inside)
        self.check_unchanged(inside, home, BackupError, "move it elsewhere first")
        (home.parent / "link.tar").symlink_to(inside)
        self.check_unchanged(home.parent / "link.tar", home, BackupError, "move it elsewhere first")
        assert about(inside)

    def test_a_home_that_somebody_serves(self, archive: Path, home: Path) -> None:
        with in_use(home):
            self.check_unchanged(archive, home, BackupError, "a server, a worker or another command uses")
        put_back(archive, home, True, quiet)

    def test_nobody_opens_a_home_that_is_being_replaced(self, archive: Path, home: Path) -> None:
        told = []

        def progress(done: int, total: int) -> None:
            with pytest.raises(StorageError, match="is being restored") as caught, open_store(home):
                pass
            told.append(caught.value)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(swapping, "_WAIT_SECONDS", 0.0)
            put_back(archive, home, True, progress)
        assert told

    def test_a_home_that_is_refused_is_not_even_migrated(self, archive: Path, home: Path, store: Store) -> None:
        store.claim(store.create_experiment("x", {}, 0).id)
        store.close()
        with closing(sqlite3.connect(home / "bitfront.sqlite")) as raw:
            raw.execute("UPDATE alembic_version SET version_num = '0002'")
            raw.commit()
        self.check_unchanged(archive, home, BackupError, "works on an experiment")
        with closing(sqlite3.connect(home / "bitfront.sqlite")) as raw:
            assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]

    def test_a_home_in_which_something_is_mounted(
        self, archive: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mounts").write_text(f"1 1 0:1 / {home}/supernets/net rw - ext4 /dev/x rw\n")
        monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mounts")
        self.check_unchanged(archive, home, BackupError, "supernets/net is mounted in .*: unmount it first")

    def test_a_store_that_is_elsewhere(
        self, archive: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BITFRONT_STORE", f"sqlite:///{tmp_path}/elsewhere.sqlite")
        self.check_unchanged(archive, home, UnsupportedError, "unset BITFRONT_STORE")

    def test_a_store_that_vanished_is_no_home(self, home: Path, archive: Path) -> None:
        assert restore._working(home.parent / "nowhere" / "x") == []
