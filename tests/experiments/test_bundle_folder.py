"""A bundle's folder: whole or not at all, whatever happens while it is written, and nobody's files are lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.experiments.bundle import folder as folders
from bitfront.experiments.bundle import swap
from bitfront.experiments.bundle.folder import write_bundle
from bitfront.experiments.bundle.names import SUMS, is_file_name, read_sums, sums_text
from bitfront.experiments.bundle.place import check_place
from bitfront.supernet.errors import StorageError

OURS = b'{"format": "bitfront bundle"}'
OLD = {"manifest.json": OURS, "model.onnx": b"old"}
NEW = {"manifest.json": OURS + b"\n", "c/network.c": b"int a;", "c/include/network.h": b"#pragma once"}

OLDER_KEYS = ("genome", "layers", "preprocessing", "predicted", "measured", "hashes", "versions", "finetuning")

KILLED = """
import os, signal, sys
from pathlib import Path
from bitfront.experiments.bundle import folder
count, sync = [0], os.fsync
def die(descriptor):
    count[0] += 1
    if count[0] == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = die
folder.write_bundle(Path(sys.argv[1]), {"manifest.json": b"{ }", "c/network.c": b"int a;"})
"""


def content(place: Path) -> dict[str, bytes]:
    """Every file by its name, ``SHA256SUMS`` aside."""
    found = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != SUMS}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an old bundle is."""
    write_bundle(tmp_path / "out", OLD)
    return tmp_path / "out"


def alone(place: Path) -> bool:
    """Whether nothing is left beside it."""
    return [path.name for path in place.parent.iterdir()] == [place.name]


def test_sums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a" / "b", NEW)
    place = tmp_path / "a" / "b"
    assert content(place) == NEW
    checked = subprocess.run(["sha256sum", "--strict", "-c", SUMS], cwd=place, capture_output=True, check=True)
    assert len(checked.stdout.splitlines()) == len(NEW)
    (place / "c" / "network.c").write_bytes(b"int b;")
    assert subprocess.run(["sha256sum", "-c", SUMS], cwd=place, capture_output=True).returncode == 1


@pytest.mark.parametrize("exchange", [True, False])
def test_a_bundle_replaces_a_bundle(place: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(swap, "_exchanged", lambda new, place: False)
    write_bundle(place, NEW)
    assert content(place) == NEW
    assert alone(place)


def test_a_file_that_was_changed_is_replaced_but_not_one_that_was_added(place: Path) -> None:
    (place / "model.onnx").write_bytes(b"changed")
    write_bundle(place, OLD)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"no bundle's \(notes\.txt\)"):
        write_bundle(place, NEW)
    assert content(place) == {**OLD, "notes.txt": b"mine"}
    assert alone(place)


def test_what_was_exported_before_there_were_bundles_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({key: {} for key in OLDER_KEYS}))
    with pytest.raises(StorageError, match=r"no bundle's \(manifest\.json\)"):
        write_bundle(tmp_path / "out", NEW)  # such a manifest alone is somebody's own
    (tmp_path / "out" / "model.onnx").write_bytes(b"older")
    write_bundle(tmp_path / "out", NEW)
    assert content(tmp_path / "out") == NEW


ISO = {
    "debian.iso": b"precious",
    SUMS: hashlib.sha256(b"precious").hexdigest().encode() + b"  debian.iso\n",
}
MINE = {
    "downloads": ISO,
    "sums that do not hold": {"thesis/a.tex": b"edited since", SUMS: b"0" * 64 + b"  thesis/a.tex\n"},
    "a web extension": {"manifest.json": b'{"name": "my web app", "manifest_version": 3}'},
    "a web extension with a model": {"manifest.json": b'{"name": "my web app"}', "model.onnx": b"mine"},
    "a manifest with sums": {**ISO, "manifest.json": b'{"format": "debian"}'},
    "our manifest, other sums": {**ISO, "manifest.json": OURS},
    "our manifest, no sums": {"manifest.json": OURS},
    "no object": {"manifest.json": b'["bitfront bundle"]'},
    "no JSON": {"manifest.json": b"[" * 100_000},
}


@pytest.mark.parametrize("mine", MINE.values(), ids=MINE)
def test_folders_that_look_like_bundles_are_left_alone(tmp_path: Path, mine: dict[str, bytes]) -> None:
    place = tmp_path / "mine"
    for name, data in mine.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    for call in (check_place, partial(write_bundle, files=NEW)):
        with pytest.raises(StorageError, match="holds what is no bundle's"):
            call(place)
    assert content(place) == {name: data for name, data in mine.items() if name != SUMS}
    assert alone(place)


def test_a_folder_that_can_not_be_looked_into_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "mine").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("mine"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StorageError, match="Permission denied"):
        write_bundle(place, NEW)
    assert (place / "mine").is_dir()


def test_places_that_can_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StorageError, match="is no folder"):
        check_place(file)
    with pytest.raises(StorageError, match=r"can not write the bundle .*another folder with -o"):
        check_place(file / "in" / "it")
    full = tmp_path / "full"
    for number in range(5):
        (full / f"folder{number}").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"\((folder\d, ){3}\.\.\.\)"):
        check_place(full)
    with pytest.raises(StorageError, match="is mounted"):
        check_place(Path("/proc"))
    (full / "folder0" / "deep").mkdir()
    for inside in (tmp_path, full / "folder0" / "deep"):
        monkeypatch.chdir(inside)
        with pytest.raises(StorageError, match="is where you are"):
            check_place(Path())
    write_bundle(Path("../out"), OLD)
    monkeypatch.chdir(full / "folder0" / "out")
    (full / "folder0" / "out" / "c").mkdir()
    monkeypatch.chdir(full / "folder0" / "out" / "c")
    for place in (Path(".."), full / "folder0" / "out"):
        with pytest.raises(StorageError, match="is where you are"):
            write_bundle(place, NEW)
    monkeypatch.chdir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_no_bundle_is_in_a_bundle(place: Path) -> None:
    """As where several devices have bundles, and one of a single device was there before."""
    for inside in (place / "phone", place / "a" / "phone"):
        for call in (check_place, partial(write_bundle, files=NEW)):
            with pytest.raises(StorageError, match=r"phone is in the bundle .*out, which holds no other"):
                call(inside)
    assert content(place) == OLD
    assert not [path for path in place.iterdir() if path.is_dir()]
    write_bundle(place.parent / "several" / "phone", OLD)
    write_bundle(place.parent / "several" / "edge", OLD)


def test_a_place_is_looked_at_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_place(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "locked" and access(path, mode))
    with pytest.raises(StorageError, match="locked can not be written"):
        check_place(tmp_path / "locked" / "b" / "c")
    assert [*tmp_path.rglob("*")] == [tmp_path / "locked"]


@pytest.mark.parametrize(
    ("name", "why"), [("\0x", "null"), ("x" * 300, "too long"), ("ring/x", r"ring|[Ss]ymbolic links|[Ss]ymlink")]
)
def test_names_that_no_folder_can_have(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "ring").symlink_to("ring")
    for call in (check_place, partial(write_bundle, files=NEW)):
        with pytest.raises(StorageError, match=f"can not write the bundle .*: .*{why}"):
            call(tmp_path / name)
    assert [*tmp_path.iterdir()] == [tmp_path / "ring"]


def test_an_empty_folder_and_a_link_to_one_are_places(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_bundle(tmp_path / "link", OLD)
    write_bundle(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == NEW


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", range(1, 8))
def test_an_error_at_any_step_leaves_all_as_it_was(
    place: Path, code: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four files and three folders are made lasting; then it is renamed."""
    count, sync = [0], os.fsync

    def failing(descriptor: int) -> None:
        count[0] += 1
        if count[0] == step:
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match=os.strerror(code)):
        write_bundle(place, NEW)
    assert content(place) == OLD
    assert alone(place)


def test_a_renaming_that_fails_leaves_all_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_exchanged", lambda new, place: False)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part") and target == place:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError, match="busy"):
        write_bundle(place, NEW)
    assert content(place) == OLD
    assert alone(place)


def test_a_bundle_is_in_place_also_where_another_export_tidies_up_what_was_put_aside(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_exchanged", lambda new, place: False)
    rename = Path.rename

    def renaming(self: Path, target: Path) -> Path:
        done = rename(self, target)
        if self.name.endswith(".part"):
            folders._clean(place)
        return done

    monkeypatch.setattr(Path, "rename", renaming)
    write_bundle(place, NEW)
    assert content(place) == NEW
    assert alone(place)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_killed_writer_leaves_no_partial_bundle(tmp_path: Path, step: int) -> None:
    place = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(place), str(step)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not place.exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_bundle(place, OLD)
    assert content(place) == OLD
    assert alone(place)


def test_who_still_writes_is_left_alone(place: Path) -> None:
    with folders._locked_folder(place) as part:
        write_bundle(place, NEW)
        assert part.is_dir()
    assert alone(place)


@pytest.mark.parametrize("is_done", [False, True], ids=["it holds the lock", "it removed the folder"])
def test_a_folder_that_another_export_tidies_up_is_not_written_to(
    place: Path, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in after the folder was made, and before it is locked."""
    make, tidied, held = Path.mkdir, [Path()], contextlib.ExitStack()

    def making(self: Path, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        if self.name.endswith(".part") and tidied == [Path()]:
            tidied[:] = [self]
            held.enter_context(folders._lock(self))
            if is_done:
                self.rmdir()

    monkeypatch.setattr(Path, "mkdir", making)
    swapped: list[Path] = []

    def putting(new: Path, place: Path) -> None:
        swapped.append(new)
        swap.put_in_place(new, place)

    monkeypatch.setattr(folders, "put_in_place", putting)
    with held:
        write_bundle(place, NEW)
    assert swapped
    assert swapped != tidied
    assert content(place) == NEW
    assert alone(place)


def test_a_lock_of_a_folder_that_is_gone_by_then_is_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, gone = fcntl.flock, [False]

    def locking(descriptor: int, how: int) -> None:
        if not gone[0]:
            gone[0] = True
            Path(f"/proc/self/fd/{descriptor}").readlink().rmdir()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", locking)
    write_bundle(place, NEW)
    assert gone[0]
    assert content(place) == NEW
    assert alone(place)


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOLCK, errno.EIO])
def test_file_systems_without_locks(place: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none)
    if code == errno.EIO:
        with pytest.raises(StorageError, match=os.strerror(code)):
            write_bundle(place, NEW)
    else:
        write_bundle(place, NEW)
    assert content(place) == (OLD if code == errno.EIO else NEW)
    assert alone(place)


def test_a_bundle_from_which_another_takes_files_is_not_put_in_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = folders._sync_folders

    def tidied(part: Path) -> None:
        sync(part)
        (part / "c" / "network.c").unlink()

    monkeypatch.setattr(folders, "_sync_folders", tidied)
    with pytest.raises(StorageError, match=r"another process removed c/network\.c"):
        write_bundle(place, NEW)
    assert content(place) == OLD
    assert alone(place)


def test_what_who_still_writes_put_aside_stays_there(place: Path) -> None:
    with folders._locked_folder(place) as part:
        aside = part.with_name(f"{part.name}{swap.ASIDE}")
        place.rename(aside)
        folders._clean(place)
        assert not place.exists()
        assert content(aside) == OLD
    folders._clean(place)
    assert content(place) == OLD


def test_what_was_put_aside_comes_back_after_a_kill(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(place: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.rename(place.with_name(f".{place.name}.1234.part{swap.ASIDE}"))
    with monkeypatch.context() as patch:
        patch.setattr(folders, "_locked_folder", full)
        with pytest.raises(StorageError, match="No space left"):
            write_bundle(place, NEW)
    assert content(place) == OLD
    assert alone(place)


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a//b", "a/../b", ".a", "a/.b", "", "a\nb", "a\\b", "é", "a" * 201, SUMS]
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can not be called"):
        write_bundle(tmp_path / "out", {name: b""})
    with pytest.raises(ValueError, match="no sum and name"):
        read_sums(f"{'0' * 64}  {name}\n" if "\n" not in name else f"{'0' * 64}  a\nb\n")


@given(st.lists(st.from_regex(r"[a-z0-9_]{1,8}(/[a-z]{1,4}\.[a-z]){0,2}", fullmatch=True), unique=True))
def test_sums_are_read_back(names: list[str]) -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert all(map(is_file_name, names))
    assert read_sums(sums_text(digests.items())) == digests


def test_a_name_comes_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        read_sums(f"{'0' * 64}  a\n{'1' * 64}  a\n")
