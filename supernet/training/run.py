"""One training from its recipe to a folder with weights; killed and called again, it goes on where it was."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, save_tensors
from bitfront.supernet.misfit import refuse_misfit
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.training.hardware import ran_on
from bitfront.supernet.training.parallel import share, wait_for_all
from bitfront.supernet.training.report import EpochReport, Listener, write_history
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.trained import (
    MANIFEST,
    WEIGHTS,
    load_weights,
    manifest_of,
    unlike,
    write_trained,
)
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
        UnsupportedError: the space or the device can not be trained, the space does not fit the data, or the
            folder holds another result.
    """
    refuse_misfit(supernet.space, dataset)
    trainer = Trainer(supernet, dataset, settings, seed, device)
    done = _finished(folder, trainer.identity)
    reports = [] if done else _restored(trainer, folder / CHECKPOINT)
    wait_for_all()  # all have read what the first goes on to write
    if done:
        return load_weights(supernet, folder)
    keeper = _Keeper(trainer, folder, reports, after_epoch)
    trainer.run(keeper.keep, keeper.save, progress)
    return keeper.finish()


@dataclass(frozen=True)
class _Keeper:
    """What is written while a training runs; of several processes, the first writes."""

    trainer: Trainer
    folder: Path
    reports: list[EpochReport]
    after_epoch: Listener

    @property
    def _writes(self) -> bool:
        return share()[0] == 0

    def save(self) -> None:
        if self._writes:
            tensors, state = self.trainer.state()
            history = [asdict(report) for report in self.reports]
            save_tensors(self.folder / CHECKPOINT, tensors, {"trainer": state, "history": history})

    def keep(self, report: EpochReport) -> None:
        self.reports.append(report)
        if self._writes:  # before the checkpoint, so that it never lacks an epoch
            write_history(self.folder / HISTORY, self.reports)
        self.save()
        self.after_epoch(report)

    def finish(self) -> dict[str, Any]:
        """The manifest; weights are in their place before the checkpoint goes."""
        ran = ran_on(self.trainer.device, self.trainer.settings.precision)
        manifest = manifest_of(self.trainer.identity, ran, self.reports)
        if self._writes:
            write_trained(self.folder, self.trainer.supernet, manifest)
            with contextlib.suppress(FileNotFoundError):
                (self.folder / CHECKPOINT).unlink()
        return manifest


def _finished(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether the folder holds the weights of this very training."""
    if (folder / CHECKPOINT).exists() or not (folder / WEIGHTS).is_file():
        return False
    if others := unlike(read_json(folder / MANIFEST), wanted):
        raise UnsupportedError(
            f"{folder} holds the result of another training ({'; '.join(others)}): "
            "give another folder, or delete this one"
        )
    return True


def _restored(trainer: Trainer, checkpoint: Path) -> list[EpochReport]:
    if not checkpoint.exists():
        return []
    tensors, manifest = load_tensors(checkpoint)
    trainer.restore(tensors, manifest.get("trainer", {}), str(checkpoint))
    return [EpochReport(**report) for report in manifest["history"]]
