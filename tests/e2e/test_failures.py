"""What goes wrong under an experiment: it is FAILED with the reason stored; earlier results stay as they were."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import front_rows
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.files import load_tensors, save_tensors

SPEC = """
space: digits
data: digits
device: bitfusion
seed: {seed}
supernet: {{warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}}
samples: {{fp32: {fp32}, quantized: 10, held_out: 10}}
search: {{population: 10, generations: 3}}
front: {{measure: 4}}
export: {{pick: best}}
"""


def launch(home: Path, fp32: int = 10, seed: int = 1) -> str:
    """Run one experiment in ``home`` to its end; returns its id, also after it failed."""
    spec = parse_spec(SPEC.format(fp32=fp32, seed=seed))
    with open_store(home) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        with suppress(BitfrontError):
            run_experiment(store, home, experiment.id, Reporters())
    return experiment.id


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with one completed experiment, and its id."""
    home = tmp_path_factory.mktemp("finished")
    return home, launch(home)


@pytest.fixture
def home(finished: tuple[Path, str], tmp_path: Path) -> Path:
    copied = tmp_path / "home"
    shutil.copytree(finished[0], copied)
    return copied


def check_failed(home: Path, failed: str, reason: str, finished: tuple[Path, str]) -> None:
    with open_store(home) as store, open_store(finished[0]) as untouched:
        ended = store.get(failed)
        assert ended.status is Status.FAILED
        assert reason in ended.reason
        assert store.get(finished[1]).status is Status.COMPLETED
        assert front_rows(store, finished[1]) == front_rows(untouched, finished[1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 0xFF
    path.write_bytes(bytes(content))


def the_only(home: Path, pattern: str) -> Path:
    (path,) = home.glob(pattern)
    return path


def poison(path: Path) -> None:
    tensors, manifest = load_tensors(path)
    tensors["layers.stem.weight"] = torch.full_like(tensors["layers.stem.weight"], float("nan"))
    save_tensors(path, tensors, manifest)


def test_missing_weights_are_trained_again_on_resume(home: Path, finished: tuple[Path, str]) -> None:
    path = the_only(home, "supernets/*/supernet.safetensors")
    before, _ = load_tensors(path)
    path.unlink()
    failed = launch(home, fp32=14)
    check_failed(home, failed, "resume the experiment to make the supernet again", finished)
    with open_store(home) as store:
        store.set_status(failed, Status.QUEUED)
        run_experiment(store, home, failed, Reporters())
    after, _ = load_tensors(path)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("pattern", "harm", "reason"),
    [
        ("supernets/*/supernet.safetensors", flip, "digest"),
        ("supernets/*/supernet.safetensors", Path.unlink, "is missing"),
        ("supernets/*/supernet.safetensors", poison, "NaN"),
    ],
    ids=["damaged weights", "missing weights", "NaN weights"],
)
def test_what_lies_on_disk_is_harmed(
    home: Path, finished: tuple[Path, str], pattern: str, harm: Callable[[Path], Any], reason: str
) -> None:
    harm(the_only(home, pattern))
    check_failed(home, launch(home, fp32=14), reason, finished)


def test_a_damaged_table_of_a_modelled_device_is_made_again(home: Path) -> None:
    path = the_only(home, "tables/bitfusion*.json")
    whole = path.read_text()
    path.write_text(whole[:1000])
    again = launch(home, fp32=14)
    with open_store(home) as store:
        assert store.get(again).status is Status.COMPLETED
    assert path.read_text() == whole


def test_a_damaged_training_checkpoint(home: Path, finished: tuple[Path, str]) -> None:
    folder = the_only(home, "supernets/*")
    shutil.copytree(folder, home / "kept")
    before = {path.name for path in (home / "supernets").iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitfront.supernet.training.run.Trainer.run", _one_epoch_then_fail)
        first = launch(home, seed=2)
    (new,) = {path.name for path in (home / "supernets").iterdir()} - before
    flip(home / "supernets" / new / "checkpoint.safetensors")
    check_failed(home, first, "power", finished)
    check_failed(home, launch(home, seed=2), "digest", finished)


def test_the_disk_is_full(home: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bitfront.supernet.files.os.fsync", full)
    failed = launch(home, seed=3)
    monkeypatch.undo()
    check_failed(home, failed, "No space left", finished)
    assert not list(home.rglob("*.part"))


def test_a_failed_experiment_goes_on_once_the_cause_is_gone(
    home: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bitfront.supernet.files.os.fsync", full)
    failed = launch(home, fp32=14)
    monkeypatch.undo()
    with open_store(home) as store:
        store.set_status(failed, Status.QUEUED)
        run_experiment(store, home, failed, Reporters())
        assert store.get(failed).status is Status.COMPLETED
        assert len(front_rows(store, failed)) > 0


def _one_epoch_then_fail(self: Any, after_epoch: Any, save: Any, progress: Any) -> None:
    after_epoch(self._run_epoch(save, progress))
    raise BitfrontError("the power went off")
