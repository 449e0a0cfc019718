"""Stage 7: a front member becomes a file, and the file is tested by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.rows import read_front
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Candidate, ExportRecord, FrontMember
from bitfront.search.constraints import qualified
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
) -> Exported:
    """Write ``model.onnx`` and ``manifest.json`` of one candidate, run the model on the test split, record it.

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

    Raises:
        UnknownNameError: no such experiment, candidate or format.
        UnsupportedError: the experiment has no trained supernet yet.
        NumericalError: fine-tuning diverged.
        StorageError: the folder can not be written.
    """
    if format_name not in FORMATS:
        raise UnknownNameError("export format", format_name, FORMATS)
    candidate = store.candidate(experiment_id, candidate_id)
    spec = spec_from(store.get(experiment_id).spec, home=home)
    run = Run(store, home, experiment_id, spec, reporter or Reporters())
    folder = folder or _own_folder(run, candidate_id)
    epochs = spec.export.finetune_epochs if finetune_epochs is None else finetune_epochs
    # The experiment is not this process's to keep alive, so that only the reporter is told.
    return _export(run, candidate, format_name, folder, epochs, run.reporter.progress)


def export_picked(run: Run) -> None:
    """Export the member that the spec asks for: the most accurate one, or the knee of the measured front."""
    pick = run.spec.export.pick
    if pick == "none":
        return
    front = read_front(run.store, run.experiment_id)
    candidate_id = int(front.ids[pick_member(front, pick)])
    wanted, candidate = run.spec.export, run.store.candidate(run.experiment_id, candidate_id)
    folder = _own_folder(run, candidate_id)
    done = _export(run, candidate, wanted.format, folder, wanted.finetune_epochs, run.progress)
    run.reporter.say(
        f"exported candidate {candidate_id} ({pick}) to {done.record.path}: test accuracy of the file "
        f"{done.top1_test:.2%}, of the fake-quantized network {done.top1_fake_quant:.2%}"
    )


def pick_member(front: Front, pick: str) -> int:
    """Place of the ``best`` (most accurate) or ``knee`` member among those that are not dominated.

    The knee is nearest to the ideal point, in objectives scaled to 0..1 over the members.
    """
    rows = np.flatnonzero(~front.dominated)
    if pick == "best":
        return int(rows[np.argmax(front.best_known["top1"][rows])])
    F = np.stack([minimised(name, front.best_known[name][rows]) for name in front.objectives], axis=1)
    span = np.ptp(F, axis=0)
    scaled = (F - F.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(rows[np.argmin(np.square(scaled).sum(axis=1))])


def _own_folder(run: Run, candidate_id: int) -> Path:
    return run.folder / "exports" / f"candidate-{candidate_id}"


def _export(
    run: Run,
    candidate: Candidate,
    format_name: str,
    folder: Path,
    finetune_epochs: int,
    progress_of: Callable[[str], Progress],
) -> Exported:
    """``progress_of`` makes a listener from a label."""
    supernet, supernet_id = _supernet(run)
    evaluator = Evaluator(supernet, run.dataset(), run.spec.supernet.calibration_images)
    with one_thread():
        subnet, tuned = _built(run, evaluator, candidate, finetune_epochs, progress_of)
        folded = subnet.fold()
        content = onnx_model(folded).SerializeToString()
        testing = progress_of(f"testing candidate {candidate.id} as a file")
        top1, top1_fake_quant, agreement = _tested(evaluator, content, folded, subnet, testing)
    path, digest = folder.absolute() / "model.onnx", hashlib.sha256(content).hexdigest()
    promised = _promised(run, candidate, tuned, top1, top1_fake_quant)
    hashes = {
        "space": supernet.space.hash(),
        "supernet": supernet_id,
        "data": evaluator.dataset.hash,
        path.name: digest,
    }
    write_bytes(path, content)
    write_json(folder / "manifest.json", manifest(candidate.array, folded, evaluator.dataset, promised, hashes))
    record = ExportRecord(candidate.id, format_name, str(path), digest, top1)
    run.store.put_export(run.experiment_id, record)
    if abs(top1 - top1_fake_quant) > _MOST_LOST:
        run.reporter.say(
            f"warning: candidate {candidate.id} has test accuracy {top1:.2%} as a file, but {top1_fake_quant:.2%} "
            "as the fake-quantized network that the file was made from"
        )
    return Exported(record, top1, top1_fake_quant, agreement)


def _built(
    run: Run,
    evaluator: Evaluator,
    candidate: Candidate,
    finetune_epochs: int,
    progress_of: Callable[[str], Progress],
) -> tuple[Subnet, _Tuned | None]:
    supernet, dataset = evaluator.supernet, evaluator.dataset
    if not finetune_epochs:
        blocks = supernet.space.blocks(candidate.array)
        return evaluator.subnet(blocks), None
    training = TrainingSettings(**run.spec.supernet.training())
    settings = FinetuningSettings.like(training, finetune_epochs)
    rng, progress = run.rng("fine-tuning"), progress_of(f"fine-tuning candidate {candidate.id}")
    images = run.spec.supernet.calibration_images
    done = finetune(supernet, dataset, candidate.array, settings, rng, images, progress)
    run.reporter.say(
        f"fine-tuned candidate {candidate.id}: validation accuracy {done.top1_before:.2%} before, "
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


def _latencies(run: Run, member: FrontMember | None) -> dict[str, float | None]:
    """What was measured of a member, by the name of the metric; None where nothing was."""
    if run.spec.device:
        return {"latency_ms": member.latency_ms if member else None}
    metrics = [qualified("latency_ms", name) for name in run.spec.devices]
    return {name: member.by_device.get(name) if member else None for name in metrics}


def _provenance(run: Run) -> dict[str, Any]:
    """Where the costs of the network come from: of the device, or by name of all that there are."""
    found = {name: device.provenance() for name, device in run.devices().items()}
    return {"devices": found} if run.spec.devices else {"device": next(iter(found.values()))}


def _promised(
    run: Run, candidate: Candidate, tuned: _Tuned | None, top1: float, top1_fake_quant: float
) -> dict[str, Any]:
    """All that is known of the network in the file; what the search measured of it untuned has its own name."""
    members = {member.candidate.id: member for member in run.store.front(run.experiment_id)}
    member = members.get(candidate.id)
    searched = member.top1_validation if member else None
    return {
        "predicted": candidate.predicted,
        "measured": {
            "top1_validation": tuned.done.top1_after if tuned and tuned.done.kept else searched,
            "top1_validation_searched": searched,
            **_latencies(run, member),
            "top1_test_fake_quant": top1_fake_quant,
            "top1_test_exported": top1,
        },
        "finetuning": tuned.document() if tuned else None,
        **_provenance(run),
    }
