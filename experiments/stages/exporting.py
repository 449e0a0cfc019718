"""Stage 7: a front member becomes a file, and the file is tested by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitfront.experiments.networks import ONE, networks_of, policy_owners
from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.rows import read_front
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.promises import Network, promises
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Candidate, ExportRecord
from bitfront.search.constraints import base_metric
from bitfront.search.executors.local import one_thread
from bitfront.search.front import Front
from bitfront.search.problem import minimised
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.export.manifest import manifest
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.files import write_bytes, write_json
from bitfront.supernet.finetuning import Finetuned, FinetuningSettings, finetune
from bitfront.supernet.folded import Folded
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress
from bitfront.supernet.subnet import Subnet
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.trained import load_weights

FORMATS = ("onnx",)
_MOST_LOST = 0.005


@dataclass(frozen=True, slots=True)
class Exported:
    """An export with the accuracy of the file itself and of the fake-quantized network it was made from.

    ``agreement`` is the fraction of test images on which both name the same class.
    """

    record: ExportRecord
    top1_test: float
    top1_fake_quant: float
    agreement: float


@dataclass(frozen=True, slots=True)
class _Tuned:
    settings: FinetuningSettings
    done: Finetuned

    def document(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            **asdict(self.settings),
            "top1_validation_before": self.done.top1_before,
            "top1_validation_after": self.done.top1_after,
            "exported": "fine-tuned" if self.done.kept else "as it was before",
        }


def export_candidate(
    store: Store,
    home: Path,
    experiment_id: str,
    candidate_id: int,
    format_name: str = "onnx",
    folder: Path | None = None,
    reporter: Reporter | None = None,
    finetune_epochs: int | None = None,
    device: str | None = None,
) -> list[Exported]:
    """Write ``model.onnx`` and ``manifest.json`` of one candidate, run the model on the test split, record it.

    Where each device has a bit-width policy of its own, that is done for each, in folders of the devices' names.

    Args:
        store: where the experiment is.
        home: where its files are.
        experiment_id: the experiment.
        candidate_id: any candidate that its search scored.
        format_name: one of `FORMATS`.
        folder: where to write; by default a folder of the experiment's own.
        reporter: who is told.
        finetune_epochs: the network is trained on for so long before, and taken if that made it no worse on the
            validation split; None: as the experiment's spec says.
        device: the only one whose network is wanted; where one network serves all devices, any of them.

    Raises:
        UnknownNameError: no such experiment, candidate, format or device.
        UnsupportedError: the experiment has no trained supernet yet.
        NumericalError: fine-tuning diverged.
        StorageError: the folder can not be written.
    """
    if format_name not in FORMATS:
        raise UnknownNameError("export format", format_name, FORMATS)
    candidate = store.candidate(experiment_id, candidate_id)
    spec = spec_from(store.get(experiment_id).spec, home=home, is_stored=True)
    run = Run(store, home, experiment_id, spec, reporter or Reporters())
    if device is not None and device not in spec.named_devices:
        raise UnknownNameError(f"device of {experiment_id}", device, spec.named_devices)
    folder = folder or _own_folder(run, candidate_id)
    epochs = spec.export.finetune_epochs if finetune_epochs is None else finetune_epochs
    # The experiment is not this process's to keep alive, so that only the reporter is told.
    how = _How(format_name, epochs, run.reporter.progress)
    return _exports(run, candidate, how, folder, device)


def export_picked(run: Run) -> None:
    """Export the member that the spec asks for: the most accurate one, or the knee of the measured front."""
    pick = run.spec.export.pick
    if pick == "none":
        return
    front = read_front(run.store, run.experiment_id)
    candidate_id = int(front.ids[pick_member(front, pick)])
    wanted, candidate = run.spec.export, run.store.candidate(run.experiment_id, candidate_id)
    folder = _own_folder(run, candidate_id)
    for done in _exports(run, candidate, _How(wanted.format, wanted.finetune_epochs, run.progress), folder):
        run.reporter.say(
            f"exported candidate {candidate_id} ({pick}) to {done.record.path}: test accuracy of the file "
            f"{done.top1_test:.2%}, of the fake-quantized network {done.top1_fake_quant:.2%}"
        )


def pick_member(front: Front, pick: str) -> int:
    """Place of the ``best`` (most accurate) or ``knee`` member among those that are not dominated.

    Where accuracy has devices, the best has the highest sum of it. Members whose accuracy nobody knows come last;
    where that is so of all, the best is that of the first objective. The knee is nearest to the ideal point, in
    objectives scaled to 0..1 over the members.
    """
    rows = np.flatnonzero(~front.dominated)
    if pick == "best":
        accuracies = [values for name, values in front.best_known.items() if base_metric(name) == "top1"]
        first = front.objectives[0]
        total = np.sum(accuracies, axis=0) if accuracies else np.full(len(front), np.nan)
        if np.isnan(total[rows]).all():
            total = -minimised(first, front.best_known[first])
        return int(rows[np.argmax(np.where(np.isnan(total), -np.inf, total)[rows])])
    F = np.stack([minimised(name, front.best_known[name][rows]) for name in front.objectives], axis=1)
    span = np.ptp(F, axis=0)
    scaled = (F - F.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(rows[np.argmin(np.square(scaled).sum(axis=1))])


def _own_folder(run: Run, candidate_id: int) -> Path:
    return run.folder / "exports" / f"candidate-{candidate_id}"


@dataclass(frozen=True, slots=True)
class _How:
    """``progress_of`` makes a listener from a label."""

    format_name: str
    finetune_epochs: int
    progress_of: Callable[[str], Progress]


def _exports(run: Run, candidate: Candidate, how: _How, folder: Path, device: str | None = None) -> list[Exported]:
    """Every network of a candidate, or that of one device, each in its folder."""
    supernet, supernet_id = _supernet(run)
    found = networks_of(supernet.space, policy_owners(run.spec.as_json()), candidate.array[None])
    networks = [Network(candidate, owner, genomes[0]) for owner, genomes in found.items()]
    wanted = [one for one in networks if device is None or one.owner in (ONE, device)]
    evaluator = Evaluator(supernet, run.dataset(), run.spec.supernet.calibration_images)
    return [_export(run, one, how, folder / one.owner, evaluator, supernet_id) for one in wanted]


def _export(
    run: Run, network: Network, how: _How, folder: Path, evaluator: Evaluator, supernet_id: str
) -> Exported:
    candidate = network.candidate
    with one_thread():
        subnet, tuned = _built(run, evaluator, network, how)
        folded = subnet.fold()
        content = onnx_model(folded).SerializeToString()
        testing = how.progress_of(f"testing {network.label} as a file")
        top1, top1_fake_quant, agreement = _tested(evaluator, content, folded, subnet, testing)
    path, digest = folder.absolute() / "model.onnx", hashlib.sha256(content).hexdigest()
    after = tuned.done.top1_after if tuned and tuned.done.kept else None
    promised = {
        **promises(run, network, after, {"top1_test_fake_quant": top1_fake_quant, "top1_test_exported": top1}),
        "finetuning": tuned.document() if tuned else None,
    }
    hashes = {
        "space": evaluator.supernet.space.hash(),
        "supernet": supernet_id,
        "data": evaluator.dataset.hash,
        path.name: digest,
    }
    write_bytes(path, content)
    write_json(folder / "manifest.json", manifest(network.genome, folded, evaluator.dataset, promised, hashes))
    record = ExportRecord(candidate.id, how.format_name, str(path), digest, top1, device=network.owner)
    run.store.put_export(run.experiment_id, record)
    if abs(top1 - top1_fake_quant) > _MOST_LOST:
        run.reporter.say(
            f"warning: {network.label} has test accuracy {top1:.2%} as a file, but {top1_fake_quant:.2%} "
            "as the fake-quantized network that the file was made from"
        )
    return Exported(record, top1, top1_fake_quant, agreement)


def _built(run: Run, evaluator: Evaluator, network: Network, how: _How) -> tuple[Subnet, _Tuned | None]:
    supernet, dataset = evaluator.supernet, evaluator.dataset
    if not how.finetune_epochs:
        return evaluator.subnet(supernet.space.blocks(network.genome)), None
    training = TrainingSettings(**run.spec.supernet.training())
    settings = FinetuningSettings.like(training, how.finetune_epochs)
    rng, progress = run.rng("fine-tuning"), how.progress_of(f"fine-tuning {network.label}")
    images = run.spec.supernet.calibration_images
    done = finetune(supernet, dataset, network.genome, settings, rng, images, progress)
    run.reporter.say(
        f"fine-tuned {network.label}: validation accuracy {done.top1_before:.2%} before, "
        f"{done.top1_after:.2%} after{'' if done.kept else '; it is exported as it was before'}"
    )
    return done.subnet, _Tuned(settings, done)


def _supernet(run: Run) -> tuple[Supernet, str]:
    supernet_id = run.store.get(run.experiment_id).supernet_id
    record = run.store.supernet(supernet_id) if supernet_id else None
    if supernet_id is None or record is None or record.state != "ready":
        raise UnsupportedError(
            f"experiment {run.experiment_id} has no trained supernet yet: resume it before you export from it"
        )
    supernet = Supernet(run.space())
    load_weights(supernet, supernet_folder(run.home, supernet_id))
    return supernet, supernet_id


def _tested(
    evaluator: Evaluator, content: bytes, folded: Folded, subnet: Subnet, progress: Progress
) -> tuple[float, float, float]:
    """(Accuracy of the file, accuracy of the network, their agreement), batch by batch, as splits may be large."""
    test, exported, fake_quant = evaluator.dataset.test, [], []
    batches = even_rows(0, len(test), evaluator.images_at_once(folded.resolution))
    for number, rows in enumerate(batches):
        images = evaluator.images("test", folded.resolution, rows)
        with torch.no_grad():
            fake_quant.append(subnet(images).argmax(1).cpu().numpy())
        exported.append(run_onnx(content, images.cpu().numpy()).argmax(1))
        progress(number + 1, len(batches))
    file, network = np.concatenate(exported), np.concatenate(fake_quant)
    return (
        float(np.mean(file == test.labels)),
        float(np.mean(network == test.labels)),
        float(np.mean(file == network)),
    )
