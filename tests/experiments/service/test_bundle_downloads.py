"""Bundles as the service sends them: whole, as zip files, and only while they are what was exported."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.bundle.archive import bundle_around, bundle_content, zip_digest
from bitfront.experiments.bundle.folder import with_sums, write_bundle
from bitfront.experiments.bundle.names import MANIFEST, MOST_SAMPLES, SUMS
from bitfront.experiments.service.jobs import Jobs
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment, ExportRecord
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.targets import TARGETS

FILES = {MANIFEST: b'{"format": "bitfront bundle"}', "model.onnx": b"a model" * 100, "c/network.c": b"int a;"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a bundle."""
    write_bundle(tmp_path / "bundle", FILES)
    return tmp_path / "bundle"


def content(data: bytes) -> dict[str, bytes]:
    """What is in a zip file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_model_of_several_files_is_sent_as_its_bundle(
    api: TestClient, store: Store, done: Experiment, folder: Path
) -> None:
    store.put_export(done.id, ExportRecord(1, "all", str(folder), zip_digest(with_sums(FILES)), None))
    (one,) = [one for one in api.get(f"/api/v1/experiments/{done.id}/exports").json()["items"] if one["candidate"]]
    assert (one["state"], one["size_bytes"]) == ("ready", sum(map(len, with_sums(FILES).values())))
    for place in ("file", "bundle"):
        answer = api.get(one[place])
        assert content(answer.content) == with_sums(FILES)
        assert answer.headers["X-Content-SHA256"] == hashlib.sha256(answer.content).hexdigest() == one["sha256"]
        assert ".zip" in answer.headers["Content-Disposition"]


def test_a_model_of_one_file_is_sent_alone_or_with_its_bundle(
    api: TestClient, store: Store, done: Experiment, folder: Path
) -> None:
    digest = hashlib.sha256(FILES["model.onnx"]).hexdigest()
    store.put_export(done.id, ExportRecord(1, "onnx", str(folder / "model.onnx"), digest, 0.5))
    one = api.get(f"/api/v1/experiments/{done.id}/exports/1").json()
    assert api.get(one["file"]).content == FILES["model.onnx"]
    assert content(api.get(one["bundle"]).content) == with_sums(FILES)
    (folder / SUMS).unlink()
    assert api.get(one["bundle"]).status_code == 404
    assert api.get(one["file"]).status_code == 200
    assert api.get(f"/api/v1/experiments/{done.id}/exports/1").json()["bundle"] is None


@pytest.mark.parametrize("name", ["model.onnx", "c/network.c", SUMS])
def test_what_was_changed_is_not_sent(
    api: TestClient, store: Store, done: Experiment, folder: Path, name: str
) -> None:
    store.put_export(done.id, ExportRecord(1, "all", str(folder), zip_digest(with_sums(FILES)), None))
    place = f"/api/v1/experiments/{done.id}/exports/1/bundle?format=all"
    (folder / name).write_bytes(b"changed")
    assert api.get(place).status_code == 409
    (folder / name).unlink()
    assert api.get(place).status_code == 404


def test_a_bundle_that_was_changed_with_its_sums_is_not_sent(
    api: TestClient, store: Store, done: Experiment, folder: Path
) -> None:
    store.put_export(done.id, ExportRecord(1, "all", str(folder), zip_digest(with_sums(FILES)), None))
    write_bundle(folder, {**FILES, "model.onnx": b"another"})
    assert api.get(f"/api/v1/experiments/{done.id}/exports/1/bundle?format=all").status_code == 409


@pytest.mark.parametrize("changed", [{"model.onnx": b"another"}, {"model.bin": b"the model is called otherwise"}])
def test_a_model_of_one_file_that_was_changed_with_its_sums_is_not_sent_in_its_bundle(
    api: TestClient, store: Store, done: Experiment, folder: Path, changed: dict[str, bytes]
) -> None:
    digest = hashlib.sha256(FILES["model.onnx"]).hexdigest()
    store.put_export(done.id, ExportRecord(1, "onnx", str(folder / "model.onnx"), digest, 0.5))
    place = f"/api/v1/experiments/{done.id}/exports/1"
    assert api.get(f"{place}/bundle").status_code == 200
    others = {name: data for name, data in FILES.items() if name != "model.onnx"}
    write_bundle(folder, others | changed)
    refused = 409 if "model.onnx" in changed else 404
    assert [api.get(f"{place}/{what}").status_code for what in ("file", "bundle")] == [refused, refused]


def test_a_file_that_is_not_as_it_was_recorded_is_no_content(folder: Path) -> None:
    for name, digest in (("model.onnx", "0" * 64), ("other.onnx", hashlib.sha256(b"").hexdigest())):
        with pytest.raises(CorruptFileError, match=f"{name} is not what was recorded"):
            next(bundle_content(folder, [(name, digest)]))


def test_sums_of_others_make_no_bundle(tmp_path: Path, folder: Path) -> None:
    assert bundle_around(folder / "c" / "network.c") == folder
    (folder / "c" / "more.c").write_text("")
    assert bundle_around(folder / "c" / "more.c") is None
    (folder / SUMS).write_text("not sums")
    assert bundle_around(folder / "c" / "network.c") is None


def test_every_format_can_be_asked_for(api: TestClient, done: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(Jobs, "_command", lambda self, arguments, memory: asked.append(arguments))
    place = f"/api/v1/experiments/{done.id}/exports"
    assert api.post(place, json={"candidate": 1, "format": "onxn"}).status_code == 422
    assert api.post(place, json={"candidate": 1, "runtime": "tensorrt"}).status_code == 422
    for name in (*TARGETS.names(), "all"):
        api.post(f"{place}?wait=5", json={"candidate": 1, "format": name, "runtime": "openvino"})
        assert asked[-1][:4] == ["export", "--candidate=1", f"--format={name}", "--runtime=openvino"]


def test_how_many_test_images_go_along_can_be_asked_for(
    api: TestClient, done: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(Jobs, "_command", lambda self, arguments, memory: asked.append(arguments))
    place = f"/api/v1/experiments/{done.id}/exports"
    for wrong in (-1, MOST_SAMPLES + 1, "many"):
        assert api.post(place, json={"candidate": 1, "samples": wrong}).status_code == 422
    for count in (0, MOST_SAMPLES):
        api.post(f"{place}?wait=5", json={"candidate": 1, "samples": count})
        assert f"--samples={count}" in asked[-1]
    api.post(f"{place}?wait=5", json={"candidate": 1})
    assert not any("samples" in word for word in asked[-1])  # as the spec says


@pytest.mark.parametrize("at", [3, 4, 5, 6, 8, 11])
def test_a_bundle_that_is_replaced_while_it_is_looked_at_is_listed(
    api: TestClient, store: Store, done: Experiment, folder: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_export(done.id, ExportRecord(1, "all", str(folder), zip_digest(with_sums(FILES)), None))
    newer = {name if name == MANIFEST else f"new/{name}": data for name, data in FILES.items()}
    looked, stat = 0, Path.stat

    def stat_of_what_is_replaced(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        nonlocal looked
        if path.is_relative_to(folder):
            looked += 1
            if looked == at:
                write_bundle(folder, newer)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat_of_what_is_replaced)
    place = f"/api/v1/experiments/{done.id}/exports"
    one = next(one for one in api.get(place).json()["items"] if one["candidate"])
    sizes = [sum(map(len, with_sums(files).values())) for files in (FILES, newer)]
    assert one["state"] == "ready"
    assert one["size_bytes"] in sizes


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a file is gone": lambda folder: (folder / "c" / "network.c").unlink(),
    "the sums are gone": lambda folder: (folder / SUMS).unlink(),
    "the sums are none": lambda folder: (folder / SUMS).write_text("no sums"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bundle_that_is_not_whole_is_told_as_gone(
    api: TestClient, store: Store, done: Experiment, folder: Path, damage: str
) -> None:
    store.put_export(done.id, ExportRecord(1, "all", str(folder), zip_digest(with_sums(FILES)), None))
    place = f"/api/v1/experiments/{done.id}/exports/1?format=all"
    assert api.get(place).json()["state"] == "ready"
    DAMAGE[damage](folder)
    assert api.get(place).json()["state"] == "failed"
