"""Stage 7: a front member becomes a bundle of files that run elsewhere, tested by themselves."""

from __future__ import annotations

from pathlib import Path

from bitfront.experiments.bundle.forms import ALL, check_format
from bitfront.experiments.bundle.place import check_place
from bitfront.experiments.networks import ONE, networks_of, policy_owners
from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.rows import read_front
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.built_network import ready_supernet
from bitfront.experiments.stages.export_bundle import Exported, Exporter, How
from bitfront.experiments.stages.picking import ranked_members
from bitfront.experiments.stages.promises import Network
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Candidate
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.targets.base import ExportOptions, RuntimeName

__all__ = ["Exported", "export_candidate", "export_picked"]

_USUAL = "onnx"
_USUAL_RUNTIME = "onnxruntime"


def export_candidate(
    store: Store,
    home: Path,
    experiment_id: str,
    candidate_id: int,
    format_name: str = _USUAL,
    folder: Path | None = None,
    reporter: Reporter | None = None,
    finetune_epochs: int | None = None,
    device: str | None = None,
    *,
    runtime: RuntimeName | None = None,
    samples: int | None = None,
) -> list[Exported]:
    """Write one candidate as a bundle, run every form in it on the test split, and record it.

    Where each device has a bit-width policy of its own, that is done for each, in folders of the devices' names.

    Args:
        store: where the experiment is.
        home: where its files are.
        experiment_id: the experiment.
        candidate_id: any candidate that its search scored.
        format_name: a target of export, or ``all`` for every one that can hold the network.
        folder: what the bundle becomes; by default a folder of the experiment's own. A bundle that is there is
            replaced; those of another runtime are in other folders.
        reporter: who is told.
        finetune_epochs: the network is trained on for so long before, and taken if that made it no worse on the
            validation split; None: as the experiment's spec says.
        device: the only one whose network is wanted; where one network serves all devices, any of them.
        runtime: which one the format onnx is written for; None: as the experiment's spec says.
        samples: how many test images go along; 0: none do, and noise stands for them; None: as the experiment's
            spec says.

    Raises:
        UnknownNameError: no such experiment, candidate, format or device.
        UnsupportedError: the experiment has no trained supernet yet, or the format can not hold the network.
        NumericalError: fine-tuning diverged.
        StorageError: the folder can not be written, or holds other things.
    """
    check_format(format_name)
    candidate = store.candidate(experiment_id, candidate_id)
    run = _stored_run(store, home, experiment_id, reporter or Reporters(), device)
    asked = run.spec.export
    epochs = asked.finetune_epochs if finetune_epochs is None else finetune_epochs
    images, options = asked.samples if samples is None else samples, ExportOptions(runtime or asked.runtime)
    # The experiment is not this process's to keep alive, so that only the reporter is told.
    how = How(format_name, options, epochs, images, run.reporter.progress)
    place = folder or _own_folder(run, candidate_id, format_name, options.runtime)
    return _exports(run, candidate, how, place, device)


def _stored_run(store: Store, home: Path, experiment_id: str, reporter: Reporter, device: str | None) -> Run:
    spec = spec_from(store.get(experiment_id).spec, home=home, is_stored=True)
    if device is not None and device not in spec.named_devices:
        raise UnknownNameError(f"device of {experiment_id}", device, spec.named_devices)
    return Run(store, home, experiment_id, spec, reporter)


def export_picked(run: Run) -> None:
    """Export the member that the spec asks for: the most accurate one, or the knee of the measured front.

    Where the spec's format can not hold it, the next one that it holds; none is no failure of the experiment.
    """
    wanted = run.spec.export
    if wanted.pick == "none":
        return
    front = read_front(run.store, run.experiment_id)
    options = ExportOptions(wanted.runtime)
    how = How(wanted.format, options, wanted.finetune_epochs, wanted.samples, run.progress, run.owner)
    for candidate_id in front.ids[ranked_members(front, wanted.pick)].tolist():
        candidate = run.store.candidate(run.experiment_id, candidate_id)
        try:
            done = _exports(run, candidate, how, _own_folder(run, candidate_id, wanted.format, wanted.runtime))
        except UnsupportedError as error:
            run.reporter.say(f"candidate {candidate_id} is not exported as {wanted.format}: {error}")
            continue
        _tell(run, candidate_id, done)
        return
    run.reporter.say(f"warning: no member of the front can be exported as {wanted.format}")


def _tell(run: Run, candidate_id: int, exported: list[Exported]) -> None:
    for done in exported:
        accuracy = "not tested" if done.top1_test is None else f"{done.top1_test:.2%}"
        run.reporter.say(
            f"exported candidate {candidate_id} ({run.spec.export.pick}) to {done.record.path}: test accuracy of "
            f"the file {accuracy}, of the fake-quantized network {done.top1_fake_quant:.2%}"
        )


def _own_folder(run: Run, candidate_id: int, format_name: str, runtime: RuntimeName) -> Path:
    ending = "" if format_name == _USUAL else f"-{format_name}"
    if format_name in (_USUAL, ALL) and runtime != _USUAL_RUNTIME:
        ending += f"-{runtime}"
    return run.folder / "exports" / f"candidate-{candidate_id}{ending}"


def _exports(run: Run, candidate: Candidate, how: How, folder: Path, device: str | None = None) -> list[Exported]:
    """Every network of a candidate, or that of one device, each in its folder."""
    supernet, supernet_id = ready_supernet(run)
    found = networks_of(supernet.space, policy_owners(run.spec.as_json()), candidate.array[None])
    networks = [Network(candidate, owner, genomes[0]) for owner, genomes in found.items()]
    wanted = [one for one in networks if device is None or one.owner in (ONE, device)]
    for one in wanted:
        check_place(folder / one.owner)
    evaluator = Evaluator(supernet, run.dataset(), run.spec.supernet.calibration_images)
    exporter = Exporter(run, how, evaluator, supernet_id)
    if len(wanted) > 1 or how.finetune_epochs:
        for one in wanted:
            exporter.refuse_misfit(one)
    return [exporter.export(one, folder / one.owner) for one in wanted]
