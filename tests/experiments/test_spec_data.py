"""The data section of a spec: names, own files, what is refused, and what makes two supernets one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.experiments.spec import Spec, SpecError, load_spec, spec_from
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.augment import NONE, Augmentation
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import silent


def _spec(data: Any, **more: Any) -> Spec:
    return spec_from({"space": "digits", "data": data, "device": "bitfusion", **more})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, images=rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), labels=np.arange(60) % 10)
    return path


def test_a_name_is_enough() -> None:
    spec = _spec("digits")
    assert spec.data.source() == "digits"
    assert spec == _spec({"name": "digits"})
    assert spec.as_json()["data"] == "digits"


def test_own_files(archive: Path) -> None:
    spec = _spec({"kind": "npz", "path": str(archive), "validation": 10, "augmentation": {"crop": 2}})
    assert spec_from(spec.as_json()) == spec
    source = spec.data.source()
    assert source == DataSettings("npz", str(archive), validation=10, name="own.npz")
    dataset = spec.data.load(silent)
    assert len(dataset.validation) == 10
    assert dataset.augmentation == Augmentation(crop=2)
    assert load_dataset(source).hash == dataset.hash


def test_a_published_set_with_another_augmentation() -> None:
    plain, other = _spec("digits"), _spec({"name": "digits", "augmentation": {"shift": 0.5}})
    assert other.data.load(silent).augmentation == Augmentation(shift=0.5)
    assert _spec({"name": "digits", "augmentation": {}}).data.load(silent).augmentation == NONE
    assert plain.data.load(silent).augmentation.rotate == 12
    assert other.data.load(silent).hash == plain.data.load(silent).hash


def test_paths_are_seen_from_the_file(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{space: digits, device: bitfusion, data: {kind: npz, path: own.npz}}"
    (tmp_path / "spec.yaml").write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_spec(tmp_path / "spec.yaml").data.path == str(archive)
    assert load_spec(Path("../spec.yaml")).data.path == str(archive)
    assert _spec({"kind": "npz", "path": "../own.npz"}).data.path == str(archive)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _spec({"kind": "npz", "path": "~/own.npz"}).data.path == str(archive)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, r"data = \{\}: names no data: give a name, or kind and path"),
        ({"kind": "npz"}, "names no data"),
        ({"path": "x"}, "names no data"),
        ({"name": "cifar11"}, r"data\.name = 'cifar11': there is no such dataset: did you mean 'cifar10'"),
        (
            {"kind": "parket", "path": "x"},
            r"data\.kind = 'parket': there is no such reader: did you mean 'parquet'",
        ),
        ({"kind": "npz", "path": ""}, r"data\.path = '': must not be empty"),
        ({"kind": "npz", "path": "x", "channels": 2}, r"data\.channels = 2: must be one of 1, 3"),
        ({"kind": "npz", "path": "x", "size": 0}, r"data\.size = 0: must be at least 1"),
        (
            {"kind": "npz", "path": "x", "validation": 1.5},
            r"data\.validation = 1\.5 is neither a share .* nor a number",
        ),
        ({"kind": "npz", "path": "x", "max_broken": -1}, r"data\.max_broken = -1: must be at least 0"),
        ({"name": "digits", "size": 3}, r"size is for your own files, not for digits: leave out size"),
        ({"name": "digits", "path": "x", "test": 9}, r"path is for your own files, .*: leave out path, test"),
        ({"name": "digits", "augmentation": {"flipp": True}}, r"data\.augmentation\.flipp = True: .*mean 'flip'"),
        ({"name": "digits", "augmentation": {"scale": 1}}, r"data\.augmentation\.scale = 1: must be at most 0\.9"),
        (7, r"data = 7: must be a mapping"),
    ],
)
def test_what_is_refused(data: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        _spec(data)


def test_a_supernet_follows_content_and_augmentation(archive: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.npz"
    moved.write_bytes(archive.read_bytes())
    os.utime(moved, (1, 1))
    specs = [
        _spec({"kind": "npz", "path": str(archive)}),
        _spec({"kind": "npz", "path": str(moved)}),
        _spec({"kind": "npz", "path": str(archive), "augmentation": {"flip": True}}),
        _spec({"kind": "npz", "path": str(archive), "validation": 0.3}),
    ]
    one, same, varied, cut = (spec.supernet_hash("space", spec.data.load(silent).hash) for spec in specs)
    assert one == same
    assert len({one, varied, cut}) == 3
