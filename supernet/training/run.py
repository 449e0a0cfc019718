"""One training from its recipe to a folder with weights; killed and called again, it goes on where it was."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, save_tensors
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.training.parallel import share, wait_for_all
from bitfront.supernet.training.report import EpochReport, Listener, write_history
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS, load_weights, manifest_of, write_trained
from bitfront.supernet.training.trainer import Trainer

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.jsonl"


def train(
    supernet: Supernet,
    dataset: Dataset,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    *,
    device: str = "auto",
    after_epoch: Listener = lambda report: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a supernet into ``folder``; returns the manifest that lies beside the weights.

    After each epoch, and every five minutes within one, a checkpoint is written, from which an interrupted
    training goes on to the same weights; the curve of the epochs is in ``history.jsonl``. A training that is done
    is not done again. Where several processes train together (see `parallel`), the first of them writes.

    Args:
        supernet: trained in place.
        dataset: its training split, and a part of the validation split for the reports.
        settings: phases, rates, batch size.
        seed: of the data order, augmentation and sampled networks.
        folder: made where it is not there.
        device: ``auto`` is a GPU where there is one.
        after_epoch: told of every epoch.
        progress: told of the steps.

    Raises:
        CorruptFileError: the checkpoint is damaged or another training's.
        NumericalError: training diverged twice.
        StorageError: the folder can not be written.
        UnsupportedError: the space or the device can not be trained, or the folder holds another result.
    """
    trainer = Trainer(supernet, dataset, settings, seed, device)
    first = share()[0] == 0
    done = _finished(folder, manifest_of(supernet.space, dataset, seed, asdict(settings), []))
    reports = [] if done else _restored(trainer, folder / CHECKPOINT)
    wait_for_all()  # all have read what the first goes on to write
    if done:
        return load_weights(supernet, folder)

    def save() -> None:
        if first:
            tensors, state = trainer.state()
            history = [asdict(report) for report in reports]
            save_tensors(folder / CHECKPOINT, tensors, {"trainer": state, "history": history})

    def keep(report: EpochReport) -> None:
        reports.append(report)
        if first:
            write_history(folder / HISTORY, reports)  # before the checkpoint, so that it never lacks an epoch
        save()
        after_epoch(report)

    trainer.run(keep, save, progress)
    manifest = manifest_of(supernet.space, dataset, seed, asdict(settings), reports)
    if first:
        write_trained(folder, supernet, manifest)
        with contextlib.suppress(FileNotFoundError):
            (folder / CHECKPOINT).unlink()
    return manifest


def _finished(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether the folder holds the weights of this very training."""
    if (folder / CHECKPOINT).exists() or not (folder / WEIGHTS).is_file():
        return False
    found = read_json(folder / MANIFEST)
    unlike = [name for name in wanted if name != "history" and found.get(name) != wanted[name]]
    if unlike:
        raise UnsupportedError(
            f"{folder} holds the result of another training (its {unlike[0]} is another): "
            "give another folder, or delete this one"
        )
    return True


def _restored(trainer: Trainer, checkpoint: Path) -> list[EpochReport]:
    if not checkpoint.exists():
        return []
    tensors, manifest = load_tensors(checkpoint)
    trainer.restore(tensors, manifest.get("trainer", {}))
    return [EpochReport(**report) for report in manifest["history"]]
