"""Bundles are verified: what is intact holds, and nothing that was changed goes unseen, or is run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import Result

from bitfront.experiments.bundle import verify as verifying
from bitfront.experiments.bundle.card import CLASSES, JUDGED, LAYERS, card_text
from bitfront.experiments.bundle.checks import checked
from bitfront.experiments.bundle.example import example_files
from bitfront.experiments.bundle.folder import with_sums
from bitfront.experiments.bundle.manifest import manifest_bytes, read_manifest
from bitfront.experiments.bundle.names import CARD, MANIFEST, NETWORK, SAMPLES, SUMS, read_sums
from bitfront.experiments.bundle.verify import failed, verified, verify
from bitfront.supernet.data.dataset import DataError, Dataset
from bitfront.supernet.errors import (
    CorruptFileError,
    MissingFileError,
    StorageError,
    UnknownNameError,
    UnsupportedError,
)
from bitfront.supernet.export.integer.c import build
from bitfront.supernet.export.targets import TARGETS

Values = dict[str, Any]
INJECTED = [
    {"end": end, "key": key, "value": value}
    for end, key, value in (
        ("input", "low", "0); __import__('os').system('true'); (0"),
        ("input", "high", "255).view(print('x')"),
        ("input", "type", "uint8).tobytes(); print('x'); (0"),
        ("input", "type", "float64"),
        ("input", "scale", "1.0)); print('x'); ((0"),
        ("input", "scale", -1.0),
        ("output", "scale", "1.0\nprint('x')"),
    )
]
"""What would be somebody's own program in an example."""
FORMS = (
    "model.onnx",
    "network.integer.safetensors",
    "torch/model.py",
    "torch/model.safetensors",
    "torch/model.pt2",
)
C = ("c/network.c", "c/network.h", "c/main.c", "c/network.integer.safetensors")
PICTURES = (LAYERS, JUDGED, CLASSES)


@pytest.fixture
def bundle(exported_all: Path, tmp_path: Path) -> Path:
    """A bundle of all forms, to be changed."""
    return Path(shutil.copytree(exported_all, tmp_path / "out"))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tiny_data: Dataset) -> str:
    """The name of the data set that it was made of."""
    monkeypatch.setattr(verifying, "load_dataset", lambda source, progress: tiny_data)
    return "digits"


def states(bundle: Path, data: str | None = None) -> dict[str, str]:
    """What was found, by what was looked at."""
    return {check.name: check.state for check in verify(bundle, data)}


def summed(bundle: Path) -> None:
    """Sums that fit the files as they are now."""
    names = [path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()]
    files = {name: (bundle / name).read_bytes() for name in names if name != SUMS}
    (bundle / SUMS).write_bytes(with_sums(files)[SUMS])


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(bytes(data))


def edit(bundle: Path, change: Callable[[Values], object], dressed: bool = True) -> None:
    """Change the manifest, and make sums and, if ``dressed``, the card fit."""
    values = json.loads((bundle / MANIFEST).read_text())
    change(values)
    (bundle / MANIFEST).write_text(json.dumps(values))
    if dressed:
        (bundle / CARD).write_text(card_text(read_manifest((bundle / MANIFEST).read_bytes())))
    summed(bundle)


def enter(values: Values, bundle: Path) -> None:
    """Make the manifest tell of all files of forms as they are now."""
    for form in values["forms"]:
        for name, entry in form["files"].items():
            data = (bundle / name).read_bytes()
            entry.update(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    main = values["forms"][0]
    values["hashes"][main["main_file"]] = main["files"][main["main_file"]]["sha256"]
    for name in (SAMPLES, NETWORK):
        if (bundle / name).exists():
            values["hashes"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()


def test_an_intact_bundle_holds(bundle: Path, data: str) -> None:
    assert verified(verify(bundle))
    for given in (None, data):
        found = states(bundle, given)
        assert "fails" not in found.values()
        open_ends = {name for name, state in found.items() if state == "not possible"}
        assert open_ends == {"pictures", "search", *(() if given else ("data",))}
        for name in TARGETS.names():
            looked_at = ["made again", "description", "answers", *(["accuracy"] if given else [])]
            assert [found[f"{name}: {what}"] for what in looked_at] == ["holds"] * len(looked_at)


@pytest.mark.parametrize("name", [*FORMS, *C, *PICTURES, MANIFEST, SAMPLES, NETWORK, CARD, "example.py", SUMS])
def test_a_changed_or_missing_file_is_seen(bundle: Path, name: str) -> None:
    flip(bundle / name)
    checks = verify(bundle)
    assert [check.state for check in checks] == ["fails", "not possible"]
    assert name in checks[0].detail or name == SUMS
    (bundle / name).unlink()
    checks = verify(bundle)
    assert checks[0].state == "fails"
    assert f"{name} is missing" in checks[0].detail


def test_every_file_has_a_test_here(bundle: Path) -> None:
    names = read_sums((bundle / SUMS).read_text())
    examples = {name for name in names if name.startswith("example")}
    assert {*names} - examples == {*FORMS, *C, *PICTURES, MANIFEST, SAMPLES, NETWORK, CARD}


def test_what_was_added_is_seen(bundle: Path) -> None:
    (bundle / "c" / "more.c").write_text("int a;")
    assert "c/more.c is not of this bundle" in verify(bundle)[0].detail
    summed(bundle)
    assert states(bundle)["manifest and files"] == "fails"


@pytest.mark.parametrize("place", [0.001, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("name", [*FORMS, *C, MANIFEST, SAMPLES, NETWORK, CARD, "example.py"])
def test_a_changed_file_with_sums_that_fit_is_seen(bundle: Path, name: str, place: float) -> None:
    flip(bundle / name, place)
    summed(bundle)
    assert failed(verify(bundle))


@pytest.mark.parametrize("place", [0.3, 0.7])
@pytest.mark.parametrize("name", [*FORMS, *C])
def test_a_changed_form_with_a_manifest_that_fits_is_seen(bundle: Path, name: str, place: float) -> None:
    flip(bundle / name, place)
    edit(bundle, lambda values: enter(values, bundle))
    found = states(bundle)
    owner = {"model.onnx": "onnx", "network.integer.safetensors": "integer"}.get(name, name.partition("/")[0])
    assert (found["manifest and files"], found[f"{owner}: made again"]) == ("holds", "fails")
    assert found[f"{owner}: answers"] == "not possible"  # it is not run


def test_no_program_that_is_read_is_run(bundle: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (bundle / "torch" / "model.py").write_text(f"open({str(marker)!r}, 'w')\ndef load(folder): ...\n")
    (bundle / "example.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (bundle / "c" / "main.c").write_text(f'#include <stdlib.h>\nint main(void) {{ system("touch {marker}"); }}\n')
    edit(bundle, lambda values: enter(values, bundle))
    assert failed(verify(bundle))
    edit(bundle, lambda values: values["versions"].update(bitfront="0.0.1"))  # which may write otherwise
    found = states(bundle)
    assert {found[f"{name}: answers"] for name in ("c", "torch")} == {"not possible"}
    assert not marker.exists()


def test_other_versions_may_write_other_bytes(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    model.producer_version = "of another version"
    onnx.save(model, bundle / "model.onnx")
    edit(bundle, lambda values: enter(values, bundle))
    edit(bundle, lambda values: values["versions"].update(onnx="1.0.0"))
    found = states(bundle)
    assert found["onnx: made again"] == "not possible"
    assert found["onnx: answers"] == "holds"  # it is run all the same


def test_a_network_of_zeros_by_other_versions_is_seen(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 1:
            one.raw_data = bytes(len(one.raw_data))
    onnx.save(model, bundle / "model.onnx")
    edit(bundle, lambda values: enter(values, bundle))
    edit(bundle, lambda values: values["versions"].update(zlib="9"))
    found = states(bundle)
    assert (found["onnx: made again"], found["onnx: answers"]) == ("not possible", "fails")


def test_a_form_of_no_numbers_is_seen(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(TARGETS.get("onnx")), "logits", lambda self, files, images: np.full((len(images), 10), np.nan)
    )
    check = {one.name: one for one in verify(bundle)}["onnx: answers"]
    assert check.state == "fails"
    assert "nan" in check.detail


def test_a_model_that_asks_for_other_files_is_not_run(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    inside = onnx.helper.make_graph([], "inside", [], [], [tensor])
    model.graph.initializer.remove(tensor)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", inside))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    edit(bundle, lambda values: enter(values, bundle))
    edit(bundle, lambda values: values["versions"].update(zlib="9"))
    check = {one.name: one for one in verify(bundle)}["onnx: answers"]
    assert (check.state, "tensors in other files" in check.detail) == ("fails", True)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda v: v["forms"][0]["tested"].update(top1=0.9), "manifest and files"),
        (lambda v: v["measured"].update(size_bytes=1), "manifest and files"),
        (lambda v: v["hashes"].update(data="0" * 64), "manifest and files"),
        (lambda v: v["forms"].reverse(), "manifest and files"),
        (lambda v: v["forms"].append(v["forms"][0]), "manifest and files"),
        (lambda v: v["preprocessing"].update(mean=[0.1, 0.2]), "manifest and files"),
        (lambda v: v["forms"][1]["tested"].update(images=81), "manifest and files"),
        (lambda v: v["forms"][1]["tested"].update(agreement=None), "manifest and files"),
        (lambda v: v["data"]["images"].update(test=81), "manifest and files"),
        (
            lambda v: v["forms"][0]["files"].update({"../../etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}),
            "manifest and files",
        ),
        (lambda v: v["forms"][0].update(main_file="/etc/passwd"), "manifest and files"),
        *[
            (
                partial(lambda v, end, key, value: v["forms"][1]["described"][end].update({key: value}), **told),
                where,
            )
            for where in ("manifest and files",)
            for told in INJECTED
        ],
        (lambda v: v["forms"][1]["described"].pop("input"), "manifest and files"),
        (lambda v: v["samples"].update(file="../../../etc/passwd"), "manifest"),
        (lambda v: v.update(network="/etc/shadow"), "manifest"),
        (lambda v: v["layers"][0].update(weight_bits=4), "network"),
        (lambda v: v["layers"].pop(), "network"),
        (lambda v: v["layers"][0].pop("weights"), "card and examples"),
        (lambda v: v["preprocessing"].update(mean=[0.1]), "samples"),
        (lambda v: v["preprocessing"].update(shape=["batch", 1, 9, 9]), "network"),
        (lambda v: v["preprocessing"].update(classes=["a", "b"]), "network"),
        (lambda v: v["samples"].update(images=7), "samples"),
        (lambda v: v["forms"][1]["described"].update(size_bytes=7), "c: description"),
        (lambda v: v["forms"][2]["described"]["sums"]["never_exceeded"].clear(), "integer: description"),
        (lambda v: v.update(version=2), "manifest"),
        (lambda v: v.pop("licences"), "manifest"),
    ],
)
def test_what_the_manifest_says_wrongly_is_seen(
    bundle: Path, change: Callable[[Values], object], where: str
) -> None:
    names = [form["format"] for form in json.loads((bundle / MANIFEST).read_text())["forms"]]
    assert names[:3] == ["onnx", "c", "integer"]
    edit(bundle, change, dressed=False)
    assert states(bundle)[where] == "fails"


def test_accuracy_that_was_made_up_is_seen_with_the_data(bundle: Path, data: str) -> None:
    def boast(values: Values) -> None:
        for form in values["forms"]:
            form["tested"].update(top1=0.99)
        values["measured"].update(top1_test_exported=0.99, top1_test_fake_quant=0.99)

    edit(bundle, boast)
    assert not failed(verify(bundle))
    found = states(bundle, data)
    assert found["network: accuracy"] == "fails"
    assert {found[f"{name}: accuracy"] for name in TARGETS.names()} == {"fails"}


def test_another_data_set(bundle: Path) -> None:
    found = states(bundle, "digits")  # the whole one, of which the bundle's is a part
    assert found["data"] == "fails"
    assert "onnx: accuracy" not in found
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        verify(bundle, "digit")


def test_data_of_ones_own_is_read_as_the_manifest_says(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Dataset
) -> None:
    asked: list[Any] = []

    def load(source: object, progress: object) -> Dataset:
        asked.append(source)
        return tiny_data

    monkeypatch.setattr(verifying, "load_dataset", load)
    settings = {"kind": "folder", "size": 8, "channels": 1, "validation": 0.2, "test": 0.3, "max_broken": 0.0}
    edit(bundle, lambda values: values["data"].update(published=None, settings=settings))
    assert states(bundle, str(tmp_path))["onnx: accuracy"] == "holds"
    (one,) = asked
    assert (one.kind, one.path, one.validation, one.test) == ("folder", str(tmp_path), 0.2, 0.3)
    edit(bundle, lambda values: values["data"]["settings"].update(rm="-rf"))
    with pytest.raises(DataError, match="does not say how"):
        verify(bundle, str(tmp_path))


def test_what_can_not_be_run_here_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise UnsupportedError("there is no compiler here")

    monkeypatch.setattr(build, "compiler", missing)
    from bitfront.supernet.export.targets import c

    c._compiled.cache_clear()  # what it compiled before is kept
    checks = {check.name: check for check in verify(bundle)}
    assert checks["c: answers"].state == "not possible"
    assert checks["c: answers"].detail == "there is no compiler here"
    assert not failed(list(checks.values()))


def test_formats_of_others(bundle: Path) -> None:
    """Somebody's own target, which is not installed here."""
    edit(bundle, lambda values: values["forms"][3].update(format="tflite"))
    (bundle / "example_torch.py").rename(bundle / "example_tflite.py")
    summed(bundle)
    found = states(bundle)
    assert found["tflite: made again"] == "not possible"
    assert found["card and examples"] == "not possible"
    assert found["samples"] == "fails"  # which have answers of torch


def alone(bundle: Path) -> None:
    """Take the network away."""
    (bundle / NETWORK).unlink()
    edit(bundle, lambda values: values.update(network=None))


def test_a_bundle_without_its_network(bundle: Path, data: str, call: Callable[..., Result]) -> None:
    alone(bundle)
    found = states(bundle, data)
    assert "fails" not in found.values()
    assert found["network"] == found["onnx: made again"] == found["onnx: description"] == "not possible"
    assert {found[f"{name}: answers"] for name in ("c", "torch")} == {"not possible"}
    assert {found[f"{name}: {what}"] for name in ("onnx", "integer") for what in ("answers", "accuracy")} == {
        "holds"
    }
    assert not verified(verify(bundle))
    done = call("export", "verify", bundle)
    assert done.exit_code == 3
    assert "not verified: onnx, c, integer, torch can not be made again here" in done.stderr
    done = call("export", "verify", bundle, "--json")
    assert done.exit_code == 3
    values = json.loads(done.stdout)
    assert (values["holds"], values["verified"]) == (True, False)


@pytest.mark.parametrize("name", ["model.onnx", "network.integer.safetensors"])
def test_garbage_without_a_network_is_seen(bundle: Path, name: str) -> None:
    alone(bundle)
    (bundle / name).write_bytes(b"this is no model at all")
    edit(bundle, lambda values: enter(values, bundle))
    assert states(bundle)[f"{'onnx' if 'onnx' in name else 'integer'}: answers"] == "fails"


def test_sums_that_hold_of_what_has_no_manifest_are_no_bundle(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()
    summed(bundle)
    assert {one.name: one.detail for one in verify(bundle)}["manifest"] == "manifest.json is missing"
    assert failed(verify(bundle))


def test_a_text_of_descriptions_that_are_not_known_to_hold_has_no_tick(bundle: Path) -> None:
    alone(bundle)
    edit(bundle, lambda values: values["forms"][1]["described"]["input"].update(low=7))
    values = json.loads((bundle / MANIFEST).read_text())
    manifest = read_manifest((bundle / MANIFEST).read_bytes())
    assert values["forms"][1]["format"] == "c"
    (bundle / "example_c.py").write_bytes(example_files(manifest.forms, manifest.main)["example_c.py"])
    summed(bundle)
    check = {one.name: one for one in verify(bundle)}["card and examples"]
    assert check.state == "not possible"
    assert "not known to hold" in check.detail


def test_no_program_of_a_network_that_is_not_there_is_run(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs could be anybody's, and fit each other."""

    def refuse(*_: object) -> None:
        raise AssertionError("it was run")

    for name in ("c", "torch"):
        monkeypatch.setattr(type(TARGETS.get(name)), "logits", refuse)
    alone(bundle)
    checks = {check.name: check for check in verify(bundle)}
    for name in ("c", "torch"):
        assert checks[f"{name}: answers"].state == "not possible"
        assert "not known to be what the network gives" in checks[f"{name}: answers"].detail


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No usable temporary directory"), PermissionError(13, "no")]
)
def test_what_the_system_refuses_is_told(
    bundle: Path, error: OSError, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Result]
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(TARGETS.get("c")), "logits", refuse)
    check = next(check for check in verify(bundle) if check.name == "c: answers")
    assert check.state == "not possible"
    assert str(error) in check.detail
    assert "TMPDIR" in check.detail
    done = call("export", "verify", bundle)
    assert (done.exit_code, done.exception) == (0, None), done.output


def test_a_check_that_the_system_refuses() -> None:
    def look() -> str:
        raise OSError(28, "No space left on device")

    assert checked("x", look).state == "not possible"
    assert "No space left" in checked("x", look).detail


def test_folders_that_are_no_bundles(bundle: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(MissingFileError, match="is no bundle"):
            verify(folder)
    with pytest.raises(StorageError, match=r"can not read .* too long"):
        verify(tmp_path / ("x" * 300))
    with pytest.raises(MissingFileError, match="is no bundle"):
        verify(tmp_path / "\0x")
    (bundle / "link").symlink_to("/etc/passwd")
    with pytest.raises(CorruptFileError, match="'link', which no bundle has"):
        verify(bundle)
    (bundle / "link").unlink()
    os.mkfifo(bundle / "pipe")
    with pytest.raises(CorruptFileError, match="'pipe', which no bundle has"):
        verify(bundle)


def test_folders_that_hold_too_much(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitfront.experiments.bundle.reading._MOST_BYTES", 1000)
    with pytest.raises(CorruptFileError, match="holds more than"):
        verify(bundle)


def test_the_command(bundle: Path, call: Callable[..., Result]) -> None:
    done = call("export", "verify", bundle)
    assert done.exit_code == 0, done.output
    assert "✓" in done.stdout
    assert "✗" not in done.stdout
    assert "verified: its network gives every form again" in done.stderr
    values = json.loads(call("export", "verify", bundle, "--json").stdout)
    assert values["holds"] is values["verified"] is True
    assert {check["state"] for check in values["checks"]} == {"holds", "not possible"}
    flip(bundle / "model.onnx")
    done = call("export", "verify", bundle)
    assert done.exit_code == 1
    assert "model.onnx was changed" in done.stdout
    assert "is not what it says" in done.stderr
    values = json.loads(call("export", "verify", bundle, "--json").stdout)
    assert values["holds"] is values["verified"] is False
    assert call("export", "verify").exit_code == 2
    assert "is no bundle" in call("export", "verify", bundle / "c").stderr


def test_help_tells_of_both(call: Callable[..., Result]) -> None:
    text = call("export", "-h").stdout
    assert "Usage: bitfront export [OPTIONS] " in text
    assert "'bitfront export verify DIR'" in text
    for name in TARGETS.names():
        assert name in text.partition("--format")[2].partition("--runtime")[0]
    text = call("export", "verify", "--help").stdout
    assert "Usage: bitfront export verify [OPTIONS] " in text
    assert "--data" in text


def test_manifests_are_written_as_they_are_read(bundle: Path) -> None:
    data = (bundle / MANIFEST).read_bytes()
    assert manifest_bytes(read_manifest(data)) == data
