"""A fine-tuned export: its file, what its manifest promises, and that the experiment is kept alive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.exporting import export_candidate, export_picked
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import CandidateBatch, Generation, Measurement, Progress, SupernetRecord
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.files import read_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.run import train

SPEC = """
space: digits
data: digits
device: bitfusion
supernet: {calibration_images: 32, batch_size: 80}
export: {finetune_epochs: 1}
"""
SEARCHED = 0.125


@pytest.fixture
def run(
    tmp_path: Path, tiny_space: MBConvSpace, tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """An experiment on a tiny space with one candidate, about to be exported."""
    monkeypatch.setattr(Run, "space", lambda self: tiny_space)
    monkeypatch.setattr(Run, "dataset", lambda self: tiny_data)
    monkeypatch.setattr("bitfront.experiments.rows.load_space", lambda settings: tiny_space)
    with open_store(tmp_path) as store:
        spec = parse_spec(SPEC)
        one = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(one.id)
        folder = supernet_folder(tmp_path, "net")
        train(Supernet(tiny_space), tiny_data, TrainingSettings(0, 0, 0, batch_size=80), 0, folder, device="cpu")
        store.put_supernet(SupernetRecord("net", "tiny", "", "tiny", "", {}, str(folder), {}, "ready"))
        store.link(one.id, supernet_id="net")
        genomes = tiny_space.assign(
            tiny_space.extremes()[:1], {"weight_format": "int8", "activation_format": "int8"}
        )
        predicted = {name: np.array([0.5]) for name in ("top1", "latency_ms", "size_bytes")}
        store.add_generation(one.id, Generation(0, 1, 0.5), CandidateBatch(genomes, predicted), genomes, {})
        store.add_front_members(one.id, [0])
        store.measure_front_members(one.id, [Measurement(0, SEARCHED, SEARCHED, 1.0, False)])
        yield Run(store, tmp_path, one.id, spec, Reporters())


def test_what_is_fine_tuned_is_promised_as_such(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[Run] = []
    beat = Run.beat

    def heard(self: Run, progress: Progress | None = None) -> None:
        beats.append(self)
        beat(self, progress)

    monkeypatch.setattr("bitfront.experiments.run._BEAT_SECONDS", -1.0)
    monkeypatch.setattr(Run, "beat", heard)
    export_picked(run)
    found = read_json(run.folder / "exports" / "candidate-0" / "manifest.json")
    tuned, measured = found["finetuning"], found["measured"]
    kept = tuned["exported"] == "fine-tuned"
    assert kept == (tuned["top1_validation_after"] >= tuned["top1_validation_before"])
    assert measured["top1_validation"] == (tuned["top1_validation_after"] if kept else SEARCHED)
    assert measured["top1_validation_searched"] == SEARCHED
    assert (tuned["epochs"], tuned["batch_size"]) == (1, 80)
    assert len(beats) >= 2 + 1  # a step of 80 images, twice, and the test of the file
    assert all(one is run for one in beats)


def test_the_spec_is_the_default_and_can_be_overruled(run: Run, tmp_path: Path) -> None:
    for epochs, expected in ((None, True), (0, False)):
        folder = tmp_path / f"out-{epochs}"
        (done,) = export_candidate(
            run.store, run.home, run.experiment_id, 0, folder=folder, finetune_epochs=epochs
        )
        assert (read_json(folder / "manifest.json")["finetuning"] is not None) == expected
        assert done.agreement > 0.95


def test_batches_of_the_test_split_add_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitfront.supernet.evaluation import Evaluator

    def exported(at_once: int) -> tuple[float, float, float]:
        monkeypatch.setattr(Evaluator, "images_at_once", lambda self, resolution: at_once)
        (one,) = export_candidate(
            run.store, run.home, run.experiment_id, 0, folder=tmp_path / str(at_once), finetune_epochs=0
        )
        return dataclasses.astuple(one)[1:]

    assert exported(32) == exported(10_000)
