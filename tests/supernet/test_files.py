"""Files are replaced whole or not at all, and damaged ones are told from good ones."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError
from bitfront.supernet.files import (
    load_tensors,
    read_bytes,
    read_json,
    read_tensors,
    save_tensors,
    tensor_digest,
    tensor_file,
    write_bytes,
    write_json,
    write_text,
)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(3, 4, generator=generator),
        "strided": torch.randn(4, 3, generator=generator).T,
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "codes": torch.arange(-3, 3, dtype=torch.int8),
        "flags": torch.tensor([True, False]),
        "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    }


def _raising(number: int) -> Callable[..., NoReturn]:
    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


class _Killed(BaseException):
    """Stands for the process dying at that point."""


def _dying(*args: object, **kwargs: object) -> NoReturn:
    raise _Killed


def test_writing_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "grün")
    write_text(path, "blau")
    assert path.read_bytes() == b"blau"
    assert [child.name for child in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("where", "name"), [(os, "fsync"), (Path, "replace"), (Path, "open"), (Path, "mkdir")])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(where, name, _raising(errno.ENOSPC))
        with pytest.raises(StorageError, match=r"file\.bin: No space left on device\. Free space"):
            write_bytes(path, b"new and longer")
    assert {child.name: child.read_bytes() for child in tmp_path.iterdir()} == {"file.bin": b"old"}


@pytest.mark.parametrize(("where", "name"), [(os, "fsync"), (Path, "replace")])
def test_death_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(where, name, _dying)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # the dead do not clean up
        with pytest.raises(_Killed):
            write_bytes(path, b"new")
    assert read_bytes(path) == b"old"
    write_bytes(path, b"new")
    assert read_bytes(path) == b"new"


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another folder"):
        write_bytes(tmp_path / "file" / "inner" / "x", b"")
    with pytest.raises(StorageError, match="choose another folder"):
        write_bytes(tmp_path / "file" / "x", b"")


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        write_bytes(tmp_path / ("x" * 300), b"")


def test_writing_over_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        write_bytes(tmp_path / "folder", b"")
    assert [child.name for child in tmp_path.iterdir()] == ["folder"]


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "é": {"n": -1e-300}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {1, 2}}])
def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "x.json", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == "old"


@pytest.mark.parametrize("damaged", [b"", b'{"a": 1', b"\xff\xfe{}", b"{} {}"])
def test_damaged_json(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(damaged)
    with pytest.raises(CorruptFileError, match=r"x\.json is not valid JSON .*delete it"):
        read_json(path)


@pytest.mark.parametrize("read", [read_bytes, read_json, load_tensors])
def test_a_missing_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    for path in (tmp_path / "no.file", tmp_path, tmp_path / "no" / "x"):
        with pytest.raises(MissingFileError, match=r"is missing: restore it"):
            read(path)


@pytest.mark.parametrize("read", [read_bytes, read_json])
def test_a_file_that_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    write_json(tmp_path / "x.json", 1)
    monkeypatch.setattr(Path, "read_bytes", _raising(errno.EIO))
    with pytest.raises(CorruptFileError, match=r"can not read .*x\.json: Input/output error"):
        read(tmp_path / "x.json")


def test_tensors_come_back_as_they_were(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    manifest = {"epoch": 3, "nested": {"list": [1, "zwölf"]}}
    save_tensors(tmp_path / "x.safetensors", tensors, manifest)
    loaded, read = load_tensors(tmp_path / "x.safetensors")
    assert read == manifest
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].nan_to_num(), tensor.nan_to_num())


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    save_tensors(tmp_path / "x", {"whole": whole, "part": whole[2:4], "again": whole}, {})
    loaded, _ = load_tensors(tmp_path / "x")
    assert torch.equal(loaded["part"], whole[2:4])
    assert torch.equal(loaded["again"], whole)


def _read_tensors(path: Path) -> object:
    return read_tensors(path.read_bytes(), str(path))


BOTH_READERS = pytest.mark.parametrize("read", [load_tensors, _read_tensors])


def test_a_tensor_file_is_the_same_on_disk_and_in_memory(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    manifest = {"epoch": 3, "nested": {"list": [1, "zwölf"]}}
    save_tensors(tmp_path / "x.safetensors", tensors, manifest)
    data = (tmp_path / "x.safetensors").read_bytes()
    assert data == tensor_file(tensors, manifest)
    loaded, read = read_tensors(data, "x")
    assert read == manifest
    assert tensor_digest(loaded) == tensor_digest(tensors)


def test_a_tensor_file_is_the_same_every_time(tensors: dict[str, Tensor]) -> None:
    """Its writer keeps metadata in an order of chance."""
    assert len({tensor_file(tensors, {"epoch": "zwölf"}) for _ in range(20)}) == 1


@BOTH_READERS
def test_a_flipped_bit_in_any_byte_is_noticed(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Values, names, shapes, types and the manifest alike."""
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3], dtype=torch.int16)}, {"epoch": 3})
    good = path.read_bytes()
    for i in range(len(good)):
        for bits in (0x01, 0x20, 0x80):
            path.write_bytes(good[:i] + bytes([good[i] ^ bits]) + good[i + 1 :])
            with pytest.raises(CorruptFileError, match=r"x\.safetensors .*delete it"):
                read(path)
    path.write_bytes(good)
    read(path)


@BOTH_READERS
def test_every_cut_is_noticed(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.tensor([1.0, 2.0])}, {"epoch": 3})
    good = path.read_bytes()
    for n in range(len(good)):
        path.write_bytes(good[:n])
        with pytest.raises(CorruptFileError, match=r"x\.safetensors"):
            read(path)


@BOTH_READERS
def test_a_foreign_safetensors_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    from safetensors.torch import save

    (tmp_path / "plain").write_bytes(save({"a": torch.zeros(2)}))
    (tmp_path / "digestless").write_bytes(save({"a": torch.zeros(2)}, metadata={"manifest": json.dumps({})}))
    for name in ("plain", "digestless"):
        with pytest.raises(CorruptFileError):
            read(tmp_path / name)


def test_digest_sees_names_types_shapes_and_values_but_no_order() -> None:
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    base = tensor_digest({"a": one, "b": two})
    assert tensor_digest({"b": two.clone(), "a": one}) == base
    others = [
        {"a": two, "b": one},
        {"a": one, "c": two},
        {"a": one[None], "b": two},
        {"a": one.view(torch.int32), "b": two},
        {"a": one},
    ]
    assert base not in [tensor_digest(other) for other in others]
