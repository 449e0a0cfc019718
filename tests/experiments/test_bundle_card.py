"""What people read of a bundle, and what they run first: card, pictures, examples."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitfront.experiments.bundle.card import CLASSES, JUDGED, LAYERS, OWN_IMAGE, card_text, plain
from bitfront.experiments.bundle.judged import judged
from bitfront.experiments.bundle.manifest import Manifest, read_manifest
from bitfront.experiments.bundle.names import CARD, MANIFEST, SAMPLES
from bitfront.experiments.bundle.pictures import classes_png, judged_png, layers_png
from bitfront.experiments.bundle.samples import fed, read_samples
from bitfront.supernet.export.targets import TARGETS


@pytest.fixture
def bundle(exported_all: Path, tmp_path: Path) -> Path:
    """A bundle of all forms."""
    return Path(shutil.copytree(exported_all, tmp_path / "out"))


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    """Its manifest."""
    return read_manifest((bundle / MANIFEST).read_bytes())


def test_every_example_names_the_class_that_the_form_says(bundle: Path, manifest: Manifest) -> None:
    samples = read_samples((bundle / SAMPLES).read_bytes())
    before = {path.name for path in bundle.rglob("*")}
    for form in manifest.forms:
        name = "example.py" if form.format == "onnx" else f"example_{form.format}.py"
        lines = [line for line in (bundle / name).read_text().splitlines() if line]
        assert len(lines) <= (17 if form.format == "c" else 12)
        done = subprocess.run([sys.executable, name], cwd=bundle, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        logits = samples.logits[form.format][0].astype(np.float64)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        named, share = done.stdout.split()
        assert named == manifest.preprocessing.classes[int(logits.argmax())]
        assert float(share.removesuffix("%")) == pytest.approx(100 * shares.max(), abs=2.0)
    assert {path.name for path in bundle.rglob("*")} == before  # so that it still is what was written


def test_what_keeps_sums_exact_on_old_cpus_is_told(bundle: Path, manifest: Manifest) -> None:
    example = (bundle / "example.py").read_text()
    assert "options.add_session_config_entry('session.x64quantprecision', '1')" in example
    assert 'InferenceSession("model.onnx", options)' in example
    assert "unless `session.x64quantprecision` is `1`" in card_text(manifest)
    forms = [form.model_copy(update={"runtime": "openvino"}) for form in manifest.forms]
    text = card_text(manifest.model_copy(update={"forms": tuple(forms)}))
    assert "8-bit sums of OpenVINO saturate, whatever its settings" in text
    others = tuple(form for form in manifest.forms if form.format != "onnx")
    assert "VNNI" not in card_text(manifest.model_copy(update={"forms": others}))


def test_examples_need_no_bitfront_but_where_they_say_so(bundle: Path) -> None:
    for path in bundle.glob("example*.py"):
        text = path.read_text()
        assert ("bitfront" in text) == ("Needs numpy, bitfront" in text)


def test_every_target_has_an_example(bundle: Path) -> None:
    assert len(list(bundle.glob("example*.py"))) == len(TARGETS.names())


@pytest.mark.parametrize("resolution", [5, 8, 13])
def test_the_cards_own_image_is_what_the_network_is_fed_with(
    bundle: Path, resolution: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle)
    values = json.loads(Path(MANIFEST).read_text())
    values["preprocessing"]["shape"][2:] = [resolution, resolution]
    Path(MANIFEST).write_text(json.dumps(values))
    known: dict[str, Any] = {}
    exec(OWN_IMAGE, known)  # the text that is in the card
    pixels = rng.integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    before = values["preprocessing"]
    expected = fed(pixels, tuple(before["mean"]), tuple(before["std"]), resolution)
    made = np.concatenate([known["prepared"](image) for image in pixels])
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert OWN_IMAGE in Path(CARD).read_text()


def test_the_card_tells_what_c_takes_of_a_device(bundle: Path, manifest: Manifest) -> None:
    text = (bundle / CARD).read_text()
    described = manifest.form("c").described
    command = subprocess.run(
        ["cc", "-o", bundle / "network", "c/network.c", "c/main.c"], cwd=bundle, check=True, capture_output=True
    )
    assert not command.stderr
    told = json.loads(subprocess.run([bundle / "network", "--sizes"], check=True, capture_output=True).stdout)
    assert told["weights_bytes"] == described["size_bytes"]
    constants, buffer = (f"{told[name]:,}" for name in ("weights_bytes", "buffer_bytes"))
    assert f"{constants} bytes of constants, and a buffer of {buffer} bytes" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| c |")]
    files = sum(one.size_bytes for one in manifest.form("c").files.values())
    assert row.split(" | ")[2:4] == [constants, f"{files:,}"]


def test_the_card_tells_what_is_known(bundle: Path, manifest: Manifest) -> None:
    text = (bundle / CARD).read_text()
    assert text == card_text(manifest)
    for form in manifest.forms:
        assert f"{form.tested.top1:.2%}" in text
        for name in form.files:
            assert plain(name) in text
    row = next(line for line in text.splitlines() if line.startswith("| Size"))
    for form in manifest.forms:
        assert f"({form.format})" in row
        whole = f"(all of {plain(form.main_file)})" in row
        is_stored = form.format != "c"  # whose text is no size of anything on a device
        assert whole == (is_stored and form.described["file_bytes"] != form.described["size_bytes"])
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (bundle / picture).is_file()
    for words in ("CC BY 4.0", "bitfusion", "softmax", "subtract mean", "12.50 % (validation images)", "50.00 %"):
        assert words in text
    assert {LAYERS, JUDGED, CLASSES} == {path.relative_to(bundle).as_posix() for path in bundle.glob("pictures/*")}


def test_names_can_not_break_the_card(manifest: Manifest) -> None:
    ugly = "a|b`c`<script>\n# d *e* [f](g)"
    experiment = manifest.experiment.model_copy(update={"name": ugly, "id": ugly})
    after = manifest.postprocessing.model_copy(update={"output": ugly})
    before = manifest.preprocessing.model_copy(update={"classes": (ugly, *manifest.preprocessing.classes[1:])})
    known = {"experiment": experiment, "preprocessing": before, "postprocessing": after}
    text = card_text(manifest.model_copy(update={**known, "versions": {"bitfront": ugly}}))
    assert "`a|b'c'<script> # d *e* [f](g)`" in text  # the experiment's, between code marks
    text = text.replace("`a|b'c'<script> # d *e* [f](g)`", "")
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\n# d" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_what_was_not_tested_is_told(manifest: Manifest) -> None:
    why = "there is no compiler | here"
    none = {"images": 0, "top1": None, "agreement": None, "why": why}
    untested = manifest.forms[0].tested.model_copy(update=none)
    form = manifest.forms[0].model_copy(update={"tested": untested})
    changed = manifest.model_copy(update={"forms": (form, *manifest.forms[1:])})
    text = card_text(changed)
    assert "| not tested |  | there is no compiler \\| here |" in text
    assert CLASSES not in text
    accuracy = next(one for one in judged(changed) if one.title == "Accuracy")
    assert "test images, onnx" not in [what for what, _ in accuracy.measured]


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert np.ptp(np.asarray(image)[..., :3]) > 100
        return image.size


@pytest.mark.parametrize("classes", [2, 12, 20, 21, 1000])
def test_pictures_of_any_number_of_classes(classes: int, rng: np.random.Generator) -> None:
    confusion = np.diag(rng.integers(0, 40, classes)) + rng.integers(0, 2, (classes, classes))
    confusion[1] = 0  # a class without images
    names = [f"class {number} \N{SNOWMAN} of a long name" for number in range(classes)]
    width, height = size(classes_png(confusion, names))
    assert max(width, height) < 2000


@pytest.mark.parametrize("count", [1, 150])
def test_pictures_of_any_number_of_layers(manifest: Manifest, count: int) -> None:
    layers = [manifest.layers[place % len(manifest.layers)] for place in range(count)]
    width, height = size(layers_png(layers))
    assert width < 2200
    assert height < 800


def test_pictures_of_what_is_known(manifest: Manifest, rng: np.random.Generator) -> None:
    few = manifest.model_copy(update={"predicted": {}, "measured": {}, "forms": manifest.forms[:1]})
    assert size(judged_png(judged(few)))[1] < size(judged_png(judged(manifest)))[1]
