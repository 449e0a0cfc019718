"""The cache: decoded once, damage noticed, races harmless; and images that are broken."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.augment import Augmentation
from bitfront.supernet.data.build import build
from bitfront.supernet.data.cache import cache_folder
from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import StorageError

Write = Callable[..., DataSettings]
Draw = Callable[..., Any]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that images are decoded."""
    counted: list[int] = []

    def count(*arguments: Any) -> Any:
        counted.append(1)
        return build(*arguments)

    monkeypatch.setattr("bitfront.supernet.data.load.build", count)
    return counted


def _entries(cache: Path) -> list[Path]:
    return sorted((cache / "datasets").iterdir())


# -- once, and again when something changed ----------------------------------------------------------------


def test_images_are_decoded_once(write: Write, grey: Any, builds: list[int], cache: Path) -> None:
    settings = write("folder", grey)
    first, second = load_dataset(settings), load_dataset(settings)
    assert len(builds) == 1
    assert first.hash == second.hash
    assert sorted(path.name for path in _entries(cache)[0].iterdir()) == [
        "manifest.json",
        *(f"{split}.{what}.npy" for split in ("test", "train", "validation") for what in ("images", "labels")),
    ]
    assert len(_entries(cache)) == 1


def test_the_hash_is_not_worked_out_again(write: Write, grey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = write("npz", grey)
    digest = load_dataset(settings).hash
    monkeypatch.setattr(np, "ascontiguousarray", None)  # every digest of pixels goes through it
    assert load_dataset(settings).hash == digest


def test_the_hash_of_the_cache_is_that_of_the_content(write: Write, grey: Any) -> None:
    split = load_dataset(write("npz", grey)).train
    assert type(split)(split.images, split.labels).digest == split.digest


@pytest.mark.parametrize("form", ["folder", "npz", "parquet"])
def test_a_changed_source_is_read_again(write: Write, grey: Any, draw: Draw, builds: list[int], form: str) -> None:
    one = load_dataset(write(form, grey))
    other = load_dataset(write(form, grey | {"test": draw(12, seed=9)}))
    assert len(builds) == 2
    assert one.hash != other.hash


def test_what_is_asked_for_is_part_of_the_key(write: Write, draw: Draw, builds: list[int]) -> None:
    parts = {"train": draw(30, size=8)}
    for changes in ({}, {"size": 4}, {"channels": 3}, {"validation": 0.2}, {"test": 4}, {"seed": 1}):
        load_dataset(write("npz", parts, **changes))
    assert len(builds) == 6
    settings = write("npz", parts, name="other", augmentation=Augmentation(flip=True))
    assert load_dataset(settings).augmentation.flip
    os.utime(settings.path)
    load_dataset(settings)
    assert len(builds) == 8  # each file that is written has its own time


def test_where_the_data_lies_is_no_part_of_the_hash(write: Write, grey: Any) -> None:
    assert load_dataset(write("folder", grey, "a")).hash == load_dataset(write("folder", grey, "b")).hash


def test_tensors_of_the_cache_do_not_reach_the_disk(write: Write, grey: Any) -> None:
    settings = write("npz", grey)
    dataset = load_dataset(settings)
    torch.from_numpy(dataset.train.images).zero_()
    assert int(dataset.train.images.max()) == 0
    assert int(load_dataset(settings).train.images.max()) > 0


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BITFRONT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "bitfront"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bitfront"


# -- damage ------------------------------------------------------------------------------------------------


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _other_json(path: Path) -> None:
    path.write_text(json.dumps({"files": {}, "digest": 3}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.images.npy", _cut),
        ("train.images.npy", _flip_a_bit),
        ("test.labels.npy", _flip_a_bit),
        ("validation.labels.npy", _cut),
        ("validation.images.npy", Path.unlink),
        ("manifest.json", Path.unlink),
        ("manifest.json", _cut),
        ("manifest.json", _other_json),
        ("train.images.npy", lambda path: path.write_bytes(b"")),
        ("manifest.json", lambda path: path.write_text(path.read_text().replace('"broken"', '"whole"'))),
        ("manifest.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_entry_is_made_anew(
    write: Write, grey: Any, builds: list[int], cache: Path, name: str, damage: Callable[[Path], object]
) -> None:
    settings = write("npz", grey)
    before = load_dataset(settings)
    digest, images = before.hash, np.array(before.train.images)
    del before  # nobody may read a map of a file while it is cut
    damage(_entries(cache)[0] / name)
    after = load_dataset(settings)
    assert len(builds) == 2
    assert after.hash == digest
    np.testing.assert_array_equal(after.train.images, images)
    assert load_dataset(settings).hash == digest
    assert len(builds) == 2
    assert len(_entries(cache)) == 1


def test_a_copied_cache_is_as_good(
    write: Write, grey: Any, builds: list[int], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write("npz", grey)
    load_dataset(settings)
    shutil.copytree(cache, tmp_path / "copy", copy_function=shutil.copyfile)  # with new times
    monkeypatch.setenv("BITFRONT_CACHE", str(tmp_path / "copy"))
    load_dataset(settings)
    assert len(builds) == 1


def test_a_cache_that_can_not_be_written(write: Write, grey: Any, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(StorageError, match=r"can not write the cache .*set BITFRONT_CACHE to another folder"):
        load_dataset(write("npz", grey))


def test_nothing_is_left_of_a_failure(write: Write, grey: Any, cache: Path) -> None:
    settings = write("folder", grey)
    next(Path(settings.path).rglob("0*.png")).write_bytes(b"broken")
    with pytest.raises(DataError):
        load_dataset(settings)
    assert _entries(cache) == []


def test_what_killed_processes_left_is_swept(write: Write, grey: Any, cache: Path) -> None:
    old, young = (cache / "datasets" / f".{name}.1234.part" for name in ("old", "young"))
    for part in (old, young):
        part.mkdir(parents=True)
        (part / "spool").write_bytes(b"pixels")
    for path in (old / "spool", old):
        os.utime(path, (1, 1))
    load_dataset(write("npz", grey))
    assert not old.exists()
    assert (young / "spool").exists()


# -- races -------------------------------------------------------------------------------------------------


def test_a_race_has_one_winner_and_no_loser(
    write: Write, grey: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process ends while this one is decoding."""
    settings = write("npz", grey)

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr("bitfront.supernet.data.load.build", build)
        faster.append(load_dataset(settings))
        return build(*arguments)

    faster: list[Any] = []
    monkeypatch.setattr("bitfront.supernet.data.load.build", slow)
    slower = load_dataset(settings)
    assert slower.hash == faster[0].hash
    assert len(_entries(cache)) == 1
    np.testing.assert_array_equal(slower.train.images, faster[0].train.images)


def test_processes_mend_the_same_damage(write: Write, grey: Any, cache: Path) -> None:
    settings = write("npz", grey)
    digest = load_dataset(settings).hash
    (_entries(cache)[0] / "manifest.json").write_text("{}")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert {data.hash for data in pool.map(load_dataset, [settings] * 4, chunksize=1)} == {digest}
    assert len(_entries(cache)) == 1


def test_processes_race(write: Write, grey: Any, cache: Path) -> None:
    settings = write("folder", grey)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(load_dataset, [settings] * 4, chunksize=1)
    assert {data.hash for data in found} == {load_dataset(settings).hash}
    assert len(_entries(cache)) == 1


# -- broken images -----------------------------------------------------------------------------------------


def _broken(settings: DataSettings, count: int) -> list[str]:
    """Break so many images of the folder; returns their paths inside."""
    paths = sorted(Path(settings.path).rglob("0*.png"))[:: 51 // count][:count]
    for path in paths:
        path.write_bytes(path.read_bytes()[:40])
    return [str(path.relative_to(settings.path)) for path in paths]


def test_broken_images_are_left_out_and_told(write: Write, grey: Any, cache: Path) -> None:
    settings = write("folder", grey, max_broken=5)
    names = _broken(settings, 5)
    for _ in range(2):  # the second time from the cache
        dataset = load_dataset(settings)
        assert sum(len(dataset.split(name)) for name in ("train", "validation", "test")) == 46
        (note,) = dataset.notes
        assert note.startswith(f"5 broken images in {settings.path} are left out: {names[0]} (")
        assert note.endswith("; ...")
    listed = json.loads((_entries(cache)[0] / "manifest.json").read_text())["broken"]
    assert listed["count"] == 5
    assert [entry.partition(" ")[0] for entry in listed["first"]] == names


@pytest.mark.parametrize(("limit", "fails"), [(0, True), (2, True), (3, False), (0.05, True), (0.06, False)])
def test_the_limit_of_broken_images(write: Write, grey: Any, limit: float, fails: bool) -> None:
    settings = write("folder", grey, max_broken=limit)
    names = _broken(settings, 3)
    if not fails:
        assert len(load_dataset(settings).notes) == 1
        return
    with pytest.raises(DataError, match=r"3 of 51 images .*raise data\.max_broken") as caught:
        load_dataset(settings)
    assert names[0] in str(caught.value)
    assert str(limit) in str(caught.value)


def test_broken_images_do_not_move_the_others(write: Write, grey: Any) -> None:
    settings = write("folder", grey, max_broken=5)
    names = _broken(settings, 5)
    left: dict[str, Any] = {}
    for name, (images, labels) in grey.items():
        keep = [f"{name}/{label}/{row:04}.png" not in names for row, label in enumerate(labels)]
        left[name] = (images[keep], labels[keep])
    assert load_dataset(settings).hash == load_dataset(write("npz", left, "left")).hash


def test_no_images_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there are no images in .*empty for a reader of kind 'folder'"):
        load_dataset(DataSettings("folder", str(tmp_path / "empty")))


def test_images_of_unlike_size(write: Write, draw: Draw, encode: Callable[..., bytes]) -> None:
    settings = write("folder", {"train": draw(30)})
    odd = Path(settings.path) / "train" / "1" / "9999.png"
    odd.write_bytes(encode(draw(1, size=7)[0][0]))
    with pytest.raises(DataError, match=r"is 6x6 and grey, train/1/9999\.png 7x7 and grey: give data\.size"):
        load_dataset(settings)
    odd.write_bytes(encode(draw(1, channels=3)[0][0]))
    with pytest.raises(DataError, match=r"6x6 and grey, .* 6x6 and colour: give data\.channels"):
        load_dataset(settings)


# -- progress ----------------------------------------------------------------------------------------------


def test_progress_is_told_to_its_end(write: Write, draw: Draw, form: str) -> None:
    seen: list[tuple[int, int]] = []
    load_dataset(write(form, {"train": draw(600, size=4)}), lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == [256, 512, 600]
    assert seen[-1] == (600, 600)
    assert all(done < total for done, total in seen[:-1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, r"data\.size = 0 is no side of an image"),
        ({"channels": 2}, r"data\.channels = 2 is neither grey nor colour: give 1 or 3"),
        ({"validation": 1.5}, r"data\.validation = 1\.5 is neither a share below 1 nor a number"),
        ({"test": -0.1}, r"data\.test = -0\.1"),
        ({"max_broken": float("nan")}, r"data\.max_broken = nan .* as 0\.01 or 20"),
    ],
)
def test_settings_that_can_not_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        DataSettings("folder", "somewhere", **changes)
