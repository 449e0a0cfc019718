"""Stage 2: train a supernet once for everything that asks for the same one, and find it again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bitfront.experiments.run import Run
from bitfront.experiments.store.records import SupernetRecord
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError, MissingFileError
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings

_WEIGHTS = "supernet.safetensors"
_CHECKPOINT = "checkpoint.safetensors"


def supernet_folder(home: Path, supernet_id: str) -> Path:
    """Where a supernet's weights and checkpoint are."""
    return home / "supernets" / supernet_id


def trained_supernet(run: Run, space: MBConvSpace, dataset: Dataset) -> tuple[str, Supernet]:
    """The (id, supernet) that the spec describes: loaded where it exists, else trained, else trained on.

    Raises:
        MissingFileError, CorruptFileError: what an earlier run left can not be read.
        NumericalError: training diverged.
    """
    supernet_id = run.spec.supernet_hash(space.hash(), dataset.hash)[:16]
    folder = supernet_folder(run.home, supernet_id)
    record = run.store.supernet(supernet_id)
    supernet = Supernet(space, run.spec.seed)
    if record is not None and record.state == "ready" and not (folder / _WEIGHTS).is_file():
        _remember(run, supernet_id, space, dataset, "training", {})  # so that the next run makes them again
        raise MissingFileError(
            f"{folder / _WEIGHTS} is missing: put it back, or resume the experiment to train the supernet again"
        )
    if record is None or record.state != "ready":
        _remember(run, supernet_id, space, dataset, "training", {})
        run.store.link(run.experiment_id, supernet_id=supernet_id)
        metrics = _train(run, supernet, dataset, folder)
        _remember(run, supernet_id, space, dataset, "ready", metrics)
        (folder / _CHECKPOINT).unlink(missing_ok=True)
    else:
        run.reporter.say(f"supernet {supernet_id} is trained already")
    run.store.link(run.experiment_id, supernet_id=supernet_id)
    load_supernet(supernet, folder)
    return supernet_id, supernet


def load_supernet(supernet: Supernet, folder: Path) -> None:
    """Put trained weights in place.

    Raises:
        MissingFileError: there are none.
        CorruptFileError: they are damaged, or another space's.
    """
    tensors, _ = load_tensors(folder / _WEIGHTS)
    try:
        supernet.load_state_dict(tensors)
    except RuntimeError as error:
        raise CorruptFileError(
            f"{folder / _WEIGHTS} holds weights of another network: delete {folder} and resume to train again"
        ) from error


def _train(run: Run, supernet: Supernet, dataset: Dataset, folder: Path) -> dict[str, Any]:
    settings = TrainingSettings(**run.spec.supernet.training())
    trainer = Trainer(supernet, dataset, settings, run.spec.seed)
    history: list[dict[str, Any]] = []
    checkpoint = folder / _CHECKPOINT
    if checkpoint.exists():
        tensors, manifest = load_tensors(checkpoint)
        trainer.restore(tensors, manifest["trainer"])
        history = manifest["history"]
        run.reporter.say(f"training goes on after epoch {trainer.epoch} of {settings.epochs}")
    progress = run.progress("training epochs")

    def after_epoch(report: EpochReport) -> None:
        history.append(asdict(report))
        tensors, state = trainer.state()
        save_tensors(checkpoint, tensors, {"trainer": state, "history": history})
        progress(report.epoch, report.epochs)

    before = torch.get_num_threads()
    torch.set_num_threads(run.spec.supernet.threads)
    try:
        trainer.run(after_epoch)
    finally:
        torch.set_num_threads(before)
    metrics = {"history": history}
    save_tensors(folder / _WEIGHTS, supernet.state_dict(), {"space": run.spec.space, **metrics})
    return metrics


def _remember(
    run: Run, supernet_id: str, space: MBConvSpace, dataset: Dataset, state: str, metrics: dict[str, Any]
) -> None:
    run.store.put_supernet(
        SupernetRecord(
            id=supernet_id,
            space=space.name,
            space_hash=space.hash(),
            data=dataset.name,
            data_hash=dataset.hash,
            training={**run.spec.supernet.training(), "seed": run.spec.seed},
            path=str(supernet_folder(run.home, supernet_id)),
            metrics=metrics,
            state=state,
        )
    )
