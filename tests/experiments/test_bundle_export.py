"""Bundles of a candidate: their forms, what their manifests say, and what is refused before anything is there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bitfront.experiments.bundle import testing
from bitfront.experiments.bundle.archive import bundle_content, write_zip
from bitfront.experiments.bundle.forms import ALL, format_names
from bitfront.experiments.bundle.manifest import read_manifest
from bitfront.experiments.bundle.names import MANIFEST, SAMPLES, SUMS, read_sums
from bitfront.experiments.bundle.samples import FAKE_QUANT, fed, read_samples
from bitfront.experiments.bundle.verify import verified, verify
from bitfront.experiments.run import Run
from bitfront.experiments.stages.exporting import Exported, export_candidate, export_picked
from bitfront.experiments.store.records import Measurement
from bitfront.supernet.errors import CorruptFileError, StorageError, UnknownNameError, UnsupportedError
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.integer import IntegerTarget

INTEGER, REAL = 0, 1
"""The candidates: all in int8, all in fp32."""


@pytest.fixture
def export(exportable: Run, tmp_path: Path) -> Callable[..., Exported]:
    """Export a candidate to ``tmp_path / "out"``, not fine-tuned."""

    def exported(candidate: int, format_name: str, **more: Any) -> Exported:
        where = exportable.store, exportable.home, exportable.experiment_id, candidate, format_name
        (one,) = export_candidate(*where, **{"folder": tmp_path / "out", "finetune_epochs": 0, **more})
        return one

    return exported


def test_a_bundle_of_one_format(export: Callable[..., Exported], exportable: Run, tmp_path: Path) -> None:
    done = export(INTEGER, "onnx")
    out, manifest = tmp_path / "out", done.manifest
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {*read_sums((out / SUMS).read_text()), SUMS}
    assert read_manifest((out / MANIFEST).read_bytes()) == manifest
    assert done.record.path == str(out / "model.onnx")
    (form,) = manifest.forms
    digest = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    assert done.record.sha256 == form.files["model.onnx"].sha256 == manifest.hashes["model.onnx"] == digest
    assert (form.tested.images, form.tested.images_of_split, form.tested.why) == (80, 80, "")
    assert manifest.measured["top1_test_exported"] == form.tested.top1 == done.record.top1_test
    assert manifest.measured["size_bytes"] == form.described["size_bytes"]
    assert manifest.predicted == {"top1": 0.5, "latency_ms": 0.5, "size_bytes": 0.5}
    assert manifest.device is not None
    assert manifest.device["name"] == "bitfusion"
    assert manifest.data.sha256 == manifest.hashes["data"] == exportable.dataset().hash
    assert manifest.data.published == "digits"
    assert "CC BY 4.0" in manifest.licences["data"]
    assert [layer["weight_format"] for layer in manifest.layers] == ["int8"] * len(manifest.layers)
    assert manifest.versions.keys() >= {"bitfront", "onnx", "onnxruntime", "torch"}
    assert manifest.machine["cpu"]


def test_samples_are_test_images_with_the_answers_of_every_form(
    export: Callable[..., Exported], exportable: Run, tmp_path: Path
) -> None:
    manifest = export(INTEGER, ALL, samples=5).manifest
    samples, test = read_samples((tmp_path / "out" / SAMPLES).read_bytes()), exportable.dataset().test
    known = {(image.tobytes(), int(label)) for image, label in zip(test.images, test.labels, strict=True)}
    assert samples.logits.keys() == {FAKE_QUANT, *(form.format for form in manifest.forms)}
    for pixels, label in zip(samples.pixels, samples.labels, strict=True):
        assert (pixels.tobytes(), int(label)) in known
    before = manifest.preprocessing
    assert np.array_equal(samples.images, fed(samples.pixels, before.mean, before.std, before.shape[2]))
    reference = samples.logits[FAKE_QUANT]
    for logits in samples.logits.values():
        assert np.abs(logits - reference).max() < 0.1 * np.ptp(reference)


def test_noise_stands_for_images_that_may_not_go_along(export: Callable[..., Exported], tmp_path: Path) -> None:
    manifest = export(INTEGER, "onnx", samples=0).manifest
    samples = read_samples((tmp_path / "out" / SAMPLES).read_bytes())
    assert manifest.samples.are_noise
    assert (samples.labels == -1).all()
    assert len(np.unique(samples.pixels)) > 100


def test_all_holds_every_form_that_can_be(export: Callable[..., Exported], tmp_path: Path) -> None:
    done = export(INTEGER, ALL)
    assert sorted([form.format for form in done.manifest.forms]) == TARGETS.names()
    assert done.manifest.forms[0].format == done.manifest.main == "onnx"
    assert done.manifest.left_out == ()
    for form in done.manifest.forms:
        for name, entry in form.files.items():
            data = (tmp_path / "out" / name).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry.sha256, entry.size_bytes)
        assert form.tested.agreement is None or form.tested.agreement > 0.9
    assert done.record.path == str(tmp_path / "out")
    zipped = tmp_path / "bundle.zip"
    with zipped.open("wb") as file:
        write_zip(bundle_content(tmp_path / "out"), file)
    assert hashlib.sha256(zipped.read_bytes()).hexdigest() == done.record.sha256
    (tmp_path / "out" / "model.onnx").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"model\.onnx is not what was written"):
        list(bundle_content(tmp_path / "out"))


@pytest.mark.parametrize("format_name", ["c", ALL])
def test_what_the_system_refuses_to_run_is_written_and_told(
    export: Callable[..., Exported], format_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr(type(TARGETS.get("c")), "logits", refuse)
    tested = export(INTEGER, format_name).manifest.form("c").tested
    assert (tested.images, tested.top1) == (0, None)
    assert "No usable temporary directory" in tested.why


def test_what_can_not_hold_a_policy_is_left_out_of_all(export: Callable[..., Exported]) -> None:
    manifest = export(REAL, ALL).manifest
    assert "onnx" in [form.format for form in manifest.forms]
    (why,) = [one.why for one in manifest.left_out if one.format == "integer"]
    assert "no layers in real numbers" in why


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_policy_that_the_format_can_not_hold_is_refused_before_all_else(
    export: Callable[..., Exported], tmp_path: Path, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitfront.experiments.stages.built_network.finetune", None)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnsupportedError, match="no layers in real numbers"):
        export(REAL, "integer", finetune_epochs=epochs, folder=tmp_path / "deep" / "in" / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_none_that_can_hold_it(export: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnsupportedError("its stem is purple")

    for name in TARGETS.names():
        monkeypatch.setattr(type(TARGETS.get(name)), "files", refuse)
    with pytest.raises(UnsupportedError, match=r"no format can hold this network \(.*integer: its stem is purple"):
        export(REAL, ALL)


def test_names_that_are_not_known(export: Callable[..., Exported], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"candidate of .* '77'"):
        export(77, "onnx")
    with pytest.raises(UnknownNameError, match="did you mean 'integer'"):
        export(INTEGER, "intger")
    assert not (tmp_path / "out").exists()


def test_places_are_checked_before_the_work(
    export: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitfront.experiments.stages.exporting.Exporter", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(StorageError, match=r"thesis\.tex"):
        export(INTEGER, "onnx")
    with pytest.raises(StorageError, match="is no folder"):
        export(INTEGER, "onnx", folder=tmp_path / "out" / "thesis.tex")


def test_a_full_disk_leaves_nothing(
    export: Callable[..., Exported], exportable: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left.*Free space"):
        export(INTEGER, ALL)
    assert sorted(tmp_path.iterdir()) == before
    assert exportable.store.exports(exportable.experiment_id) == ()


def test_a_slow_form_is_run_on_fewer_images(
    export: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "_SECONDS", 0.0)
    monkeypatch.setattr(testing, "_LEAST_IMAGES", 16)
    monkeypatch.setattr(testing, "_seconds", lambda logits, images: 0.5 * len(images))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_SECONDS", 10.0)
        done = export(INTEGER, "integer", samples=12)
    (tested,) = [form.tested for form in done.manifest.forms]
    samples = read_samples((done.folder / SAMPLES).read_bytes())
    assert {name: len(logits) for name, logits in samples.logits.items()} == {"integer": 8, FAKE_QUANT: 12}
    assert verified(verify(done.folder))
    assert (tested.images, tested.images_of_split) == (20, 80)
    assert "0.5 s an image" in tested.why
    assert tested.top1 is not None


@pytest.mark.parametrize(("each", "expected"), [(0.5, 360), (0.001, 10_000), (60.0, 64)])
def test_what_the_first_call_costs_alone_is_no_matter(
    monkeypatch: pytest.MonkeyPatch, each: float, expected: int
) -> None:
    now, calls = [0.0], [0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def logits(images: Any) -> Any:
        calls[0] += 1
        now[0] += each * len(images) + (30.0 if calls[0] == 1 else 0.0)
        return np.zeros((len(images), 10), np.float32)

    count, why = testing._affordable(logits, lambda rows: np.zeros((len(rows), 1), np.float32), 10_000)
    assert count == expected
    assert bool(why) == (expected < 10_000)


def test_a_form_that_can_not_run_here_is_not_tested(
    export: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise UnsupportedError("there is no compiler here: install gcc")

    monkeypatch.setattr(IntegerTarget, "logits", missing)
    done = export(INTEGER, "integer")
    (tested,) = [form.tested for form in done.manifest.forms]
    assert (tested.images, tested.top1, tested.agreement) == (0, None, None)
    assert tested.why == "there is no compiler here: install gcc"
    assert (done.top1_test, done.record.top1_test) == (None, None)
    assert read_samples((tmp_path / "out" / SAMPLES).read_bytes()).logits.keys() == {FAKE_QUANT}


def test_places_of_an_experiments_own(exportable: Run) -> None:
    for format_name in ("onnx", "integer"):
        for _ in range(2):  # a bundle is replaced by the next
            exportable.spec = exportable.spec.model_copy(
                update={"export": exportable.spec.export.model_copy(update={"format": format_name})}
            )
            export_picked(exportable)
    found = {one.format: Path(one.path) for one in exportable.store.exports(exportable.experiment_id)}
    folder = exportable.folder / "exports"
    assert found["onnx"] == folder / "candidate-0" / "model.onnx"
    assert found["integer"] == folder / "candidate-0-integer" / "network.integer.safetensors"
    assert sorted(path.name for path in folder.iterdir()) == ["candidate-0", "candidate-0-integer"]


@pytest.mark.parametrize("samples", [0, 3])
def test_the_spec_says_how_many_test_images_go_along(
    exportable: Run, export: Callable[..., Exported], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, one = exportable.store, exportable.experiment_id
    wanted = exportable.spec.export.model_copy(update={"samples": samples, "finetune_epochs": 0})
    exportable.spec = exportable.spec.model_copy(update={"export": wanted})
    export_picked(exportable)
    (record,) = store.exports(one)
    expected = (samples, False) if samples else (8, True)
    said = read_manifest((Path(record.path).parent / MANIFEST).read_bytes()).samples
    assert (said.images, said.are_noise) == expected
    monkeypatch.setattr("bitfront.experiments.stages.exporting.spec_from", lambda *_, **__: exportable.spec)
    for given, meant in ((None, expected), (5, (5, False)), (0, (8, True))):
        said = export(INTEGER, "onnx", samples=given).manifest.samples
        assert (said.images, said.are_noise) == meant


def test_bundles_for_each_runtime_have_places_of_their_own(exportable: Run) -> None:
    where = exportable.store, exportable.home, exportable.experiment_id, INTEGER
    for name, runtime in (("onnx", None), ("onnx", "openvino"), ("all", "openvino"), ("integer", "openvino")):
        export_candidate(*where, name, finetune_epochs=0, runtime=runtime)  # type: ignore[arg-type]
    folder = exportable.folder / "exports"
    ends = {"": "onnxruntime", "-openvino": "openvino", "-all-openvino": "openvino", "-integer": None}
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"candidate-0{end}" for end in ends)
    for end, runtime in ends.items():
        form = read_manifest((folder / f"candidate-0{end}" / MANIFEST).read_bytes()).forms[0]
        assert runtime is None or form.runtime == runtime
    wanted = exportable.spec.export.model_copy(update={"runtime": "openvino", "finetune_epochs": 0})
    exportable.spec = exportable.spec.model_copy(update={"export": wanted})
    export_picked(exportable)
    paths = {record.format: record.path for record in exportable.store.exports(exportable.experiment_id)}
    assert paths["onnx"] == str(folder / "candidate-0-openvino" / "model.onnx")


def test_the_next_best_is_exported_where_the_format_can_not_hold_the_best(
    exportable: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(type(exportable.reporter), "say", lambda self, text: said.append(text))
    store, one = exportable.store, exportable.experiment_id
    store.add_front_members(one, [REAL])
    store.measure_front_members(one, [Measurement(REAL, 0.9, 0.9, 2.0, False)])
    wanted = exportable.spec.export.model_copy(update={"format": "integer", "finetune_epochs": 0})
    exportable.spec = exportable.spec.model_copy(update={"export": wanted})
    export_picked(exportable)
    assert [(record.candidate_id, record.format) for record in store.exports(one)] == [(INTEGER, "integer")]
    assert any(f"candidate {REAL} is not exported as integer" in text for text in said)

    def refuse(*_: object) -> None:
        raise UnsupportedError("its stem is purple")

    monkeypatch.setattr(IntegerTarget, "files", refuse)
    export_picked(exportable)
    assert said[-1] == "warning: no member of the front can be exported as integer"


def test_the_command(exportable: Run, call: Callable[..., Result], home: Path, tmp_path: Path) -> None:
    os.environ["BITFRONT_HOME"] = str(exportable.home)
    give = ("export", exportable.experiment_id, "--candidate", INTEGER, "--finetune-epochs", 0)
    done = call(*give, "--format", "all", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    (values,) = json.loads(done.stdout)
    assert values["bundle"] == values["path"] == str(tmp_path / "out")
    assert values["forms"][0]["format"] == "onnx"
    assert "onnx: test top1 of the file" in done.stderr
    refused = call(
        "export", exportable.experiment_id, "--candidate", REAL, "--format", "integer", "-o", tmp_path / "x"
    )
    assert refused.exit_code == 1
    assert "no layers in real numbers" in refused.stderr
    assert not (tmp_path / "x").exists()
    wrong = call(*give, "--format", "onxn")
    assert "did you mean 'onnx'" in wrong.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(version=2),
        lambda values: values.update(format="something"),
        lambda values: values.update(extra=1),
        lambda values: values.pop("genome"),
        lambda values: values["forms"].clear(),
        lambda values: values["forms"][0]["tested"].update(top1=1.5),
        lambda values: values["forms"][0]["files"]["model.onnx"].update(sha256="x"),
        lambda values: values["preprocessing"].update(std=[0.0]),
        lambda values: values["genome"].append(256),
    ],
)
def test_manifests_that_are_none(exported_all: Path, change: Callable[[Any], object]) -> None:
    values = json.loads((exported_all / MANIFEST).read_text())
    change(values)
    with pytest.raises(CorruptFileError, match=r"here is no manifest of version 1 \(.*export the bundle again"):
        read_manifest(json.dumps(values).encode(), "here")


def test_formats_are_those_of_targets() -> None:
    assert format_names() == [*TARGETS.names(), "all"]
