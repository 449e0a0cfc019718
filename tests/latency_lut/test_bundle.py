"""A bundle, from the space to the table: written here, measured by its own script, taken back."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from bitfront.latency_lut.bundle import profile
from bitfront.latency_lut.bundle.write import write_bundle
from bitfront.latency_lut.devices.host_onnxruntime import HostONNXRuntime
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.one_layer import one_layer
from bitfront.latency_lut.profile_plan import profile_plan
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.supernet.errors import StorageError, UnsupportedError
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.export.onnx_graph import part_model
from bitfront.supernet.export.onnx_runtime import session_options
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

ROUNDS = 12


def small() -> MBConvSpace:
    """Digits with few choices: a few dozen blocks."""
    few = {gene.name: gene.choices[-1:] for gene in digits().genes if gene.kind in ("kernel", "resolution")}
    return digits().restrict(
        few | {gene.name: gene.choices[-2:] for gene in digits().genes if gene.kind == "width"}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(HostONNXRuntime(batch=4, rounds=ROUNDS), small(), tmp_path / "b.zip", np.random.default_rng(0))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        archive.extractall(tmp_path / "b")
    return tmp_path / "b"


def run(python: str, folder: Path) -> subprocess.Popen[str]:
    # Nothing of this project can be imported: no path leads to it, and -I keeps the environment out.
    return subprocess.Popen(
        [python, "-I", str(folder / "profile.py"), "--lines"], stdout=subprocess.PIPE, text=True, cwd=folder
    )


def test_it_holds_what_the_plan_names(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"profile.py", "plan.json", "README.txt", "models"}
    plan = json.loads((folder / "plan.json").read_text())
    device = HostONNXRuntime()
    space = device.restrict(small())
    wanted = profile_plan(space, unique_blocks(space, device), np.random.default_rng(0).spawn(2)[0])
    assert [call["key"] for call in plan["calls"]] == list(wanted)
    assert all((folder / call["model"]).is_file() for call in plan["calls"])
    assert (plan["provenance"]["threads"], plan["provenance"]["batch"]) == (1, 4)
    words = (folder / "README.txt").read_text()
    assert "--space digits" in words
    assert "4 images in a call" in words


def test_its_script_is_the_one_that_measures_here(folder: Path) -> None:
    assert (folder / "profile.py").read_bytes() == Path(profile.__file__).read_bytes()


def test_its_script_imports_nothing_of_this_project(folder: Path) -> None:
    assert "import bitfront" not in (folder / "profile.py").read_text()
    assert "from bitfront" not in (folder / "profile.py").read_text()


def test_its_script_runs_on_older_pythons(folder: Path) -> None:
    ast.parse((folder / "profile.py").read_text(), feature_version=(3, 9))


def test_sessions_are_set_as_for_exported_models() -> None:
    here, there = profile.onnxruntime_options(3), session_options(3)
    for name in ("intra_op_num_threads", "inter_op_num_threads", "execution_mode", "graph_optimization_level"):
        assert getattr(here, name) == getattr(there, name)
    keys = ["session.intra_op.allow_spinning", "session.inter_op.allow_spinning"]
    if not host_cpu().sums_8bit_products_exactly:
        keys.append("session.x64quantprecision")
    for key in keys:
        assert here.get_session_config_entry(key) == there.get_session_config_entry(key)


def test_weights_pack_well() -> None:
    """A bundle for 224 pixels has some hundred megabytes of weights."""
    part = random_folded(one_layer("linear", "fp32", "fp32"), np.random.default_rng(0))
    model = part_model(part, 1).SerializeToString()
    assert len(zlib.compress(model, 1)) < 0.1 * len(model)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="another folder"):
        write_bundle(HostONNXRuntime(), small(), tmp_path / "file" / "b.zip", np.random.default_rng(0))


def test_a_space_that_the_runtime_can_not_execute_is_refused(tmp_path: Path) -> None:
    space = small().restrict({"stage0.block0.depthwise.weight_format": ["int4"]})
    with pytest.raises(UnsupportedError):
        write_bundle(HostONNXRuntime(), space, tmp_path / "b.zip", np.random.default_rng(0))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_killed_and_started_again_it_gives_a_table_that_predicts(folder: Path, tmp_path: Path) -> None:
    process = run(sys.executable, folder)
    kept = folder / profile.SAMPLES
    deadline = time.monotonic() + 120
    while not kept.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / profile.RESULTS).exists()
    before = json.loads(kept.read_text())["samples"]
    assert before

    again = run(sys.executable, folder)
    again.communicate(timeout=300)
    assert again.returncode == 0
    after = json.loads(kept.read_text())["samples"]
    assert all(after[key][: len(values)] == values for key, values in before.items())
    assert {len(values) for values in after.values()} == {ROUNDS}

    device = _imported(folder / profile.RESULTS, tmp_path)
    space = device.restrict(small())
    genomes = space.sample(24, np.random.default_rng(1), "sizes")
    rng = np.random.default_rng(2)
    measured = HostONNXRuntime(batch=4).measure([random_folded(space.blocks(g), rng) for g in genomes], rng)
    predicted = device.compile(small()).cost(genomes)["latency_ms"]
    assert kendalltau(predicted, measured).statistic > 0.7
    ratio = predicted / measured
    assert np.abs(ratio / np.median(ratio) - 1).mean() < 0.25


def _imported(results: Path, place: Path) -> ImportedDevice:
    table = imported_table(IMPORTERS.get("csv")(results, digits()), digits(), "phone")
    assert table.provenance["runtime"] == "onnxruntime"
    assert table.provenance["batch"] == 4
    table.save(place / "phone.json")
    return ImportedDevice(str(place / "phone.json"))


@pytest.mark.slow
def test_it_needs_numpy_and_the_runtime_alone(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "fresh"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    wanted = [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime")]
    quiet = ["-q", "--disable-pip-version-check"]
    installed = subprocess.run(
        [python, "-m", "pip", "install", *quiet, *wanted],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"the package index does not answer: {installed.stderr[-200:]}")
    process = run(python, folder)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    first, done, total = out.splitlines()[-1].split()
    assert first == profile.PROGRESS
    assert done == total
    assert _imported(folder / profile.RESULTS, tmp_path).executable("depthwise") == {
        ("fp32", "fp32"),
        ("int8", "int8"),
    }
