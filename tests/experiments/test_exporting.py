"""A fine-tuned export: its file, what its manifest promises, and that the experiment is kept alive."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitfront.experiments.run import Run
from bitfront.experiments.stages.exporting import export_candidate, export_picked
from bitfront.experiments.store.records import Progress
from bitfront.supernet.files import read_json

SEARCHED = 0.125


def test_what_is_fine_tuned_is_promised_as_such(exportable: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[Run] = []
    beat = Run.beat

    def heard(self: Run, progress: Progress | None = None) -> None:
        beats.append(self)
        beat(self, progress)

    monkeypatch.setattr("bitfront.experiments.run._BEAT_SECONDS", -1.0)
    monkeypatch.setattr(Run, "beat", heard)
    export_picked(exportable)
    found = read_json(exportable.folder / "exports" / "candidate-0" / "manifest.json")
    tuned, measured = found["finetuning"], found["measured"]
    kept = tuned["exported"] == "fine-tuned"
    assert kept == (tuned["top1_validation_after"] >= tuned["top1_validation_before"])
    assert measured["top1_validation"] == (tuned["top1_validation_after"] if kept else SEARCHED)
    assert measured["top1_validation_searched"] == SEARCHED
    assert (tuned["epochs"], tuned["batch_size"]) == (1, 80)
    assert len(beats) >= 2 + 1  # a step of 80 images, twice, and the test of the file
    assert all(one is exportable for one in beats)


def test_the_spec_is_the_default_and_can_be_overruled(exportable: Run, tmp_path: Path) -> None:
    for epochs, expected in ((None, True), (0, False)):
        folder = tmp_path / f"out-{epochs}"
        (done,) = export_candidate(
            exportable.store, exportable.home, exportable.experiment_id, 0, folder=folder, finetune_epochs=epochs
        )
        assert (read_json(folder / "manifest.json")["finetuning"] is not None) == expected
        agreement = done.manifest.forms[0].tested.agreement
        assert agreement is not None
        assert agreement > 0.95


def test_batches_of_the_test_split_add_up(
    exportable: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitfront.supernet.evaluation import Evaluator

    def exported(at_once: int) -> tuple[float | None, float, float | None]:
        monkeypatch.setattr(Evaluator, "images_at_once", lambda self, resolution: at_once)
        (one,) = export_candidate(
            exportable.store,
            exportable.home,
            exportable.experiment_id,
            0,
            folder=tmp_path / str(at_once),
            finetune_epochs=0,
        )
        return one.top1_test, one.top1_fake_quant, one.manifest.forms[0].tested.agreement

    assert exported(32) == exported(10_000)
