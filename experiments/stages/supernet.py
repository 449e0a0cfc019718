"""Stage 2: a supernet for everything that asks for the same one: found, taken over, or trained."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import torch

from bitfront.experiments.plot_training import training_png
from bitfront.experiments.run import Run
from bitfront.experiments.stages.parallel_training import train_together
from bitfront.experiments.store.records import SupernetRecord
from bitfront.supernet.assets import shipped
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.files import load_tensors, read_bytes, write_bytes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training import TrainingSettings, phases_of
from bitfront.supernet.training.report import EpochReport
from bitfront.supernet.training.run import CHECKPOINT, train
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS, check_fits, load_weights

_PLOT = "training.png"


def supernet_folder(home: Path, supernet_id: str) -> Path:
    """Where a supernet's weights and checkpoint are."""
    return home / "supernets" / supernet_id


def trained_supernet(run: Run, space: SearchSpace, dataset: Dataset) -> tuple[str, Supernet]:
    """The (id, supernet) that the spec describes: loaded where it exists, else taken over, trained, or trained on.

    Raises:
        MissingFileError, CorruptFileError: what an earlier run left, or the spec names, can not be read.
        UnsupportedError: the spec's weights are of another space or other data.
        NumericalError: training diverged.
    """
    kept = _kept(run, space, dataset)
    source = None if kept else _source(run, space, dataset)
    supernet_id = kept or _id(run, space, dataset, source)
    folder = supernet_folder(run.home, supernet_id)
    record = run.store.supernet(supernet_id)
    supernet = Supernet(space, run.spec.seed)
    if record is not None and record.state == "ready" and not (folder / WEIGHTS).is_file():
        _remember(run, supernet_id, space, dataset, "training", {})  # so that the next run makes them again
        raise MissingFileError(
            f"{folder / WEIGHTS} is missing: put it back, or resume the experiment to make the supernet again"
        )
    if record is None or record.state != "ready":
        _remember(run, supernet_id, space, dataset, "training", {})
        run.store.link(run.experiment_id, supernet_id=supernet_id, owner=run.owner)
        manifest = _taken_over(run, source, folder) if source else _train(run, supernet, dataset, folder)
        _remember(run, supernet_id, space, dataset, "ready", manifest)
    else:
        run.reporter.say(f"supernet {supernet_id} is there already")
    run.store.link(run.experiment_id, supernet_id=supernet_id, owner=run.owner)
    load_weights(supernet, folder)
    return supernet_id, supernet


def _kept(run: Run, space: SearchSpace, dataset: Dataset) -> str | None:
    """The supernet that this experiment began with, whatever became of the folder that its weights were from."""
    supernet_id = run.store.get(run.experiment_id).supernet_id
    record = run.store.supernet(supernet_id) if supernet_id else None
    if record is None or record.state != "ready" or not (supernet_folder(run.home, record.id) / WEIGHTS).is_file():
        return None
    fits = (record.space_hash, record.data_hash) == (space.hash(), dataset.hash)
    return record.id if fits else None


def _source(run: Run, space: SearchSpace, dataset: Dataset) -> Path | None:
    """A folder with weights that were trained elsewhere, or None."""
    wanted = run.spec.supernet
    usual = TrainingSettings(**wanted.training()) == TrainingSettings()
    if wanted.weights is not None:
        check_fits(Path(wanted.weights), space, dataset)
        if not usual:
            run.reporter.say("supernet: the settings of its training are not used, as weights are given")
        return Path(wanted.weights)
    if wanted.pretrained and usual and run.spec.data.augmentation is None:
        return shipped(space.hash(), dataset.hash)
    return None


def _id(run: Run, space: SearchSpace, dataset: Dataset, source: Path | None) -> str:
    if source is None:
        return run.spec.supernet_hash(space.hash(), dataset.hash)[:16]
    digest = hashlib.sha256(read_bytes(source / WEIGHTS))
    digest.update(f"{dataset.hash}{run.spec.supernet.calibration_images}".encode())
    return digest.hexdigest()[:16]


def _taken_over(run: Run, source: Path, folder: Path) -> dict[str, Any]:
    """Copy weights into the home, so that it stays whole whatever becomes of their folder."""
    load_tensors(source / WEIGHTS)  # refuses damaged ones before anything is copied
    for name in (WEIGHTS, MANIFEST):
        write_bytes(folder / name, read_bytes(source / name))
    manifest: dict[str, Any] = load_tensors(folder / WEIGHTS)[1]
    run.reporter.say(
        f"supernet: weights from {source}, trained on {manifest['data']} for {_epochs(manifest)} epochs with seed "
        f"{manifest.get('seed')}"
    )
    return manifest


def _epochs(manifest: dict[str, Any]) -> int:
    return len(manifest.get("history", ()))


def _train(run: Run, supernet: Supernet, dataset: Dataset, folder: Path) -> dict[str, Any]:
    settings = TrainingSettings(**run.spec.supernet.training())
    if (folder / CHECKPOINT).exists():
        epoch = load_tensors(folder / CHECKPOINT)[1]["trainer"]["epoch"]
        run.reporter.say(f"training goes on after epoch {epoch} of {settings.epochs}")
    if run.spec.supernet.processes > 1:
        manifest = train_together(run, settings, folder)
    else:
        manifest = _train_here(run, supernet, dataset, settings, folder)
    write_bytes(folder / _PLOT, training_png([EpochReport(**report) for report in manifest["history"]]))
    run.reporter.say(f"training curve: {folder / _PLOT}")
    return manifest


def _train_here(
    run: Run, supernet: Supernet, dataset: Dataset, settings: TrainingSettings, folder: Path
) -> dict[str, Any]:
    wanted, before = run.spec.supernet, torch.get_num_threads()
    torch.set_num_threads(wanted.threads)
    try:
        return train(
            supernet, dataset, settings, run.spec.seed, folder,
            device=wanted.device, after_epoch=lambda report: _tell(run, report),
            progress=run.progress("training steps"),
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)
        supernet.to("cpu")


def _tell(run: Run, report: EpochReport) -> None:
    """The end of a phase; the rest is in the history."""
    epochs = [phase.epochs for phase in phases_of(TrainingSettings(**run.spec.supernet.training()))]
    if report.epoch in itertools.accumulate(epochs):
        low, middle, high = (
            f"{100 * top1:.1f}" for top1 in (report.top1_min, report.top1_median, report.top1_max)
        )
        run.reporter.say(
            f"{report.phase}: {report.epoch} of {report.epochs} epochs, loss {report.loss:.3f}, "
            f"subnets from {low} over {middle} to {high} %"
        )


def _remember(
    run: Run, supernet_id: str, space: SearchSpace, dataset: Dataset, state: str, manifest: dict[str, Any]
) -> None:
    run.store.put_supernet(
        SupernetRecord(
            id=supernet_id,
            space=space.name,
            space_hash=space.hash(),
            data=dataset.name,
            data_hash=dataset.hash,
            training=manifest.get("training") or {**run.spec.supernet.training(), "seed": run.spec.seed},
            path=str(supernet_folder(run.home, supernet_id)),
            metrics={"history": manifest["history"]} if manifest else {},
            state=state,
        )
    )
