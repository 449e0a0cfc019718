"""A training into a folder: what lies there, killed at any moment and called again, on a bare machine."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError, UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, save_tensors, write_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.spaces.settings import SpaceSettings, load_space
from bitfront.supernet.training import EpochReport, TrainingSettings
from bitfront.supernet.training import __main__ as command
from bitfront.supernet.training.hardware import usable_cores
from bitfront.supernet.training.run import CHECKPOINT, HISTORY, train
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS, check_fits, load_weights

ROOT = Path(__file__).parents[3]
SETTINGS = TrainingSettings(1, 1, 1, batch_size=30, subnets_per_step=1, probes=0)
DIGITS = """
space: digits
data: digits
seed: 3
training: {warmup_epochs: 2, elastic_epochs: 2, quantized_epochs: 2, batch_size: 256, subnets_per_step: 1}
"""


class StoppedError(Exception):
    """In the place of a power cut."""


def run(space: MBConvSpace, data: Dataset, folder: Path, **changes: Any) -> dict[str, Any]:
    settings = changes.pop("settings", SETTINGS)
    return train(Supernet(space, 1), data, settings, changes.pop("seed", 2), folder, device="cpu", **changes)


def weights_in(folder: Path) -> dict[str, Tensor]:
    return load_tensors(folder / WEIGHTS)[0]


def same_weights(one: Path, other: Path) -> bool:
    first, second = weights_in(one), weights_in(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def history_in(folder: Path) -> list[EpochReport]:
    """Reports compare without their times."""
    return [EpochReport(**json.loads(line)) for line in (folder / HISTORY).read_text().splitlines()]


@pytest.fixture(scope="module")
def calm(
    tiny_space: MBConvSpace, few_images: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder and the manifest of an undisturbed training."""
    folder = tmp_path_factory.mktemp("calm") / "made" / "by it"
    return folder, run(tiny_space, few_images, folder)


# -- what it leaves ----------------------------------------------------------------------------------------


def test_what_lies_there_in_the_end(
    calm: tuple[Path, dict[str, Any]], tiny_space: MBConvSpace, few_images: Dataset
) -> None:
    folder, manifest = calm
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, MANIFEST, HISTORY}
    assert read_json(folder / MANIFEST) == manifest == load_tensors(folder / WEIGHTS)[1]
    assert manifest["space_hash"] == tiny_space.hash()
    assert manifest["data_hash"] == few_images.hash
    assert manifest["seed"] == 2
    assert TrainingSettings(**manifest["training"]) == SETTINGS
    assert [EpochReport(**report) for report in manifest["history"]] == history_in(folder)
    assert manifest["augmentation"] == dataclasses.asdict(few_images.augmentation)
    ran = manifest["ran"]
    assert (ran["precision"], ran["device"], ran["processes"]) == ("fp32", "cpu", 1)
    assert (ran["threads"], ran["torch"]) == (torch.get_num_threads(), torch.__version__)
    supernet = Supernet(tiny_space, seed=9)
    assert load_weights(supernet, folder) == manifest
    assert all(torch.equal(t, weights_in(folder)[name]) for name, t in supernet.state_dict().items())


def test_every_line_of_the_history_is_a_report(calm: tuple[Path, dict[str, Any]]) -> None:
    lines = (calm[0] / HISTORY).read_text().splitlines()
    fields = {field.name for field in dataclasses.fields(EpochReport)}
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        values = json.loads(line)
        assert values.keys() == fields
        assert values["seconds"] > 0
        assert values["images_per_second"] > 0
        assert 0 <= values["top1_min"] <= values["top1_median"] <= values["top1_max"] <= 1


# -- stopped and called again ------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", range(1, 4))
def test_stopped_after_an_epoch_it_goes_on(
    calm: tuple[Path, dict[str, Any]], tiny_space: MBConvSpace, few_images: Dataset, tmp_path: Path, stop: int
) -> None:
    """Also after the last one, when weights were not written yet."""
    heard: list[EpochReport] = []

    def power_cut(report: EpochReport) -> None:
        heard.append(report)
        if report.epoch == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tiny_space, few_images, tmp_path, after_epoch=power_cut)
    assert len(history_in(tmp_path)) == stop
    assert not (tmp_path / WEIGHTS).exists()
    run(tiny_space, few_images, tmp_path, after_epoch=heard.append)
    assert heard == history_in(tmp_path) == history_in(calm[0])
    assert same_weights(tmp_path, calm[0])
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("name", "time_"), [(HISTORY, 1), (HISTORY, 3), (CHECKPOINT, 1), (CHECKPOINT, 3), (WEIGHTS, 1), (MANIFEST, 1)]
)
def test_stopped_in_the_middle_of_writing_it_goes_on(
    calm: tuple[Path, dict[str, Any]],
    tiny_space: MBConvSpace,
    few_images: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    time_: int,
) -> None:
    """Before any of the files is renamed into its place, in the first or the last epoch, or in the end."""
    original, count = Path.replace, [0]

    def cut(self: Path, target: Path) -> Path:
        count[0] += Path(target).name == name
        if Path(target).name == name and count[0] == time_:
            raise StoppedError
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(StoppedError):
            run(tiny_space, few_images, tmp_path)
    run(tiny_space, few_images, tmp_path)
    assert history_in(tmp_path) == history_in(calm[0])
    assert same_weights(tmp_path, calm[0])
    assert read_json(tmp_path / MANIFEST)["history"] == load_tensors(tmp_path / WEIGHTS)[1]["history"]
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS, MANIFEST, HISTORY}


def test_what_is_done_is_not_done_again(
    calm: tuple[Path, dict[str, Any]], tiny_space: MBConvSpace, few_images: Dataset
) -> None:
    folder, manifest = calm
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    supernet = Supernet(tiny_space, seed=8)
    again = train(
        supernet, few_images, SETTINGS, 2, folder, device="cpu", after_epoch=lambda report: pytest.fail("an epoch")
    )
    assert again == manifest
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert all(torch.equal(t, weights_in(folder)[name]) for name, t in supernet.state_dict().items())


@pytest.mark.parametrize("what", ["seed", "training", "data_hash", "augmentation", "space"])
def test_the_result_of_another_training_is_not_overwritten(
    calm: tuple[Path, dict[str, Any]], tiny_space: MBConvSpace, few_images: Dataset, what: str
) -> None:
    folder, _ = calm
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-3) if what == "training" else SETTINGS
    part = Split(few_images.test.images[1:], few_images.test.labels[1:])
    data = dataclasses.replace(few_images, test=part) if what == "data_hash" else few_images
    if what == "augmentation":
        data = dataclasses.replace(data, augmentation=dataclasses.replace(data.augmentation, flip=True))
    space = MBConvSpace("other", tiny_space.frame) if what == "space" else tiny_space
    with pytest.raises(
        UnsupportedError, match=rf"another training \({what}.* was .* and is .*\): give another folder"
    ):
        run(space, data, folder, settings=settings, seed=3 if what == "seed" else 2)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_checkpoint_of_another_training_is_refused(
    tiny_space: MBConvSpace, few_images: Dataset, tmp_path: Path
) -> None:
    def stop(report: EpochReport) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(tiny_space, few_images, tmp_path, after_epoch=stop)
    kept = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(
        CorruptFileError, match=r"checkpoint\.safetensors is of another training \(seed was 2 and is 5\): delete"
    ):
        run(tiny_space, few_images, tmp_path, seed=5)
    assert (tmp_path / CHECKPOINT).read_bytes() == kept
    (tmp_path / CHECKPOINT).write_bytes(kept[:-1000])
    with pytest.raises(CorruptFileError, match=r"checkpoint\.safetensors is not a bitfront tensor file"):
        run(tiny_space, few_images, tmp_path)
    save_tensors(tmp_path / CHECKPOINT, Supernet(tiny_space).state_dict(), {"space": "tiny"})
    with pytest.raises(CorruptFileError, match=r"checkpoint\.safetensors is of another training"):
        run(tiny_space, few_images, tmp_path)


def test_a_space_that_does_not_fit_the_data_is_refused(few_images: Dataset, tmp_path: Path) -> None:
    space = load_space(SpaceSettings("digits", {"classes": 12}))
    with pytest.raises(UnsupportedError, match="is for 12 classes, but data set 'tiny digits' has 10"):
        train(Supernet(space), few_images, SETTINGS, 2, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_can_not_be_written(tiny_space: MBConvSpace, few_images: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can not write"):
        run(tiny_space, few_images, tmp_path / "file" / "folder")


# -- weights that are taken over ---------------------------------------------------------------------------


def test_whether_weights_fit(
    calm: tuple[Path, dict[str, Any]], tiny_space: MBConvSpace, few_images: Dataset, tmp_path: Path
) -> None:
    folder, manifest = calm
    assert check_fits(folder, tiny_space, few_images) == manifest
    assert check_fits(folder, tiny_space.restrict({"resolution": [8]}), few_images) == manifest
    other = MBConvSpace("other", dataclasses.replace(tiny_space.frame, head_channels=24))
    with pytest.raises(UnsupportedError, match="holds a supernet of space 'tiny', and not of this 'other'"):
        check_fits(folder, other, few_images)
    part = Split(few_images.test.images[1:], few_images.test.labels[1:])
    data = dataclasses.replace(few_images, name="less", test=part)
    with pytest.raises(UnsupportedError, match=r"of data 'tiny digits', and not of this 'less' .*give that data"):
        check_fits(folder, tiny_space, data)
    with pytest.raises(MissingFileError):
        check_fits(tmp_path, tiny_space, few_images)
    write_json(tmp_path / MANIFEST, {})
    with pytest.raises(UnsupportedError, match="of space None"):
        check_fits(tmp_path, tiny_space, few_images)


def test_weights_of_another_space_are_not_loaded(
    calm: tuple[Path, dict[str, Any]], gated_space: MBConvSpace
) -> None:
    with pytest.raises(CorruptFileError, match="holds weights of another network"):
        load_weights(Supernet(gated_space), calm[0])


# -- the command -------------------------------------------------------------------------------------------


def test_errors_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert command.main([str(tmp_path / "none.yaml"), "--out", out, "--threads", "1"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "none.yaml is missing" in told.err
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(DIGITS)
    assert command.main([str(recipe), "--out", out, "--threads", "1", "--device", "gpu"]) == 1
    assert "'gpu' is no device that trains" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_spaces_without_real_formats_can_not_be_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("space: proxyless\ndata: {kind: npz, path: nowhere.npz}\n")  # refused before it is read
    assert command.main([str(recipe), "--out", str(tmp_path / "out"), "--threads", "1"]) == 1
    assert "have no 'fp32'" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["0", "-1", "two"])
def test_threads_are_a_number_from_one(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["recipe.yaml", "--out", "out", f"--threads={threads}"])
    assert stopped.value.code == 2
    assert f"'{threads}' is no number of threads" in capsys.readouterr().err


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)), raising=False)
    cores = []
    for processes in ("1", "4", "20"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        cores.append(usable_cores())
    assert cores == [9, 2, 1]


@pytest.fixture(scope="module")
def calm_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed call of the command."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "recipe.yaml").write_text(DIGITS)
    assert command.main([str(folder / "recipe.yaml"), "--out", str(folder / "out"), "--threads", "1"]) == 0
    return folder / "out"


def start(code: list[str], recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *code, str(recipe), "--out", str(out), "--threads", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".ns"), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


IN_EVERY_STEP = """
import sys
from bitfront.supernet.training import trainer
from bitfront.supernet.training.__main__ import main
trainer._SAVE_SECONDS = -1.0
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("code", "delay"),
    [
        pytest.param(["-m", "bitfront.supernet.training"], random.Random(1).uniform(0, 0.4), id="between epochs"),
        pytest.param(["-c", IN_EVERY_STEP], random.Random(2).uniform(0, 0.2), id="within epochs"),
    ],
)
def test_killed_and_called_again_it_ends_alike(
    calm_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: list[str], delay: float
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(DIGITS)
    process = start(code, recipe, out)
    deadline = time.monotonic() + 200
    while not (out / CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / WEIGHTS).exists()

    assert command.main([str(recipe), "--out", str(out), "--threads", "1"]) == 0
    assert "epoch 6/6 quantized: loss" in capsys.readouterr().out
    assert history_in(out) == history_in(calm_digits)
    assert same_weights(out, calm_digits)


BARE = '''
import importlib.metadata, re, sys

def wanted(names):
    found, queue = set(), list(names)
    while queue:
        name = re.sub("[-_.]+", "-", queue.pop()).lower()
        if name in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        queue += [re.match("[A-Za-z0-9._-]+", need).group() for need in needs if "extra ==" not in need]
    return found

there = wanted(["torch", "numpy", "pillow", "PyYAML", "safetensors"])
normal = lambda name: re.sub("[-_.]+", "-", name).lower()
allowed = set(sys.stdlib_module_names) | {
    top for top, owners in importlib.metadata.packages_distributions().items() if there & set(map(normal, owners))
}

class Bare:
    """A finder that finds nothing else."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        ours = name == "bitfront" or name.startswith("bitfront.supernet")
        if ours or top in allowed or top.startswith("_sysconfigdata"):
            return self.finder.find_spec(name, path, target)
        return None

for name in ("sklearn", "pandas", "scipy", "matplotlib", "onnx", "pydantic", "ray", "sqlalchemy", "typer", "rich"):
    assert name not in allowed, name
    assert name not in sys.modules, name
sys.meta_path[:] = map(Bare, sys.meta_path)
from bitfront.supernet.training.__main__ import main
sys.exit(main())
'''


def test_a_bare_machine_is_enough(tmp_path: Path) -> None:
    """torch, numpy, Pillow, PyYAML, safetensors and what they need; nothing else can be imported."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "own.npz", images=rng.integers(0, 256, (80, 10, 10)).astype(np.uint8), labels=np.arange(80) % 4
    )
    (tmp_path / "recipe.yaml").write_text(
        "space: digits\ndata: {kind: npz, path: own.npz, augmentation: {shift: 0.1, mixup: 0.2}}\n"
        "training: {schedule: progressive, warmup_epochs: 1, kernel_epochs: 1, depth_epochs: 1, expand_epochs: 1, "
        "quantized_epochs: 1, batch_size: 32, subnets_per_step: 1}\n"
    )
    process = start(["-W", "error", "-c", BARE], tmp_path / "recipe.yaml", tmp_path / "out")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told.decode()
    assert [report.phase for report in history_in(tmp_path / "out")] == [
        "warmup", "kernel", "depth-2", "expand-2", "quantized",
    ]  # fmt: skip
    assert weights_in(tmp_path / "out")
