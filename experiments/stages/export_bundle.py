"""One network becomes a bundle: built, written in its forms, each of them tested by itself, and recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.experiments.bundle.archive import zip_digest
from bitfront.experiments.bundle.content import bundle_files, form_entry, made_manifest, own_files
from bitfront.experiments.bundle.folder import with_sums, write_bundle
from bitfront.experiments.bundle.forms import ALL, Form, forms_of, run_form
from bitfront.experiments.bundle.manifest import FormEntry, Manifest
from bitfront.experiments.bundle.samples import FAKE_QUANT, MOST_OF_SLOW, Samples, drawn, fed
from bitfront.experiments.bundle.testing import Answers, answers_of, fed_images
from bitfront.experiments.run import Run
from bitfront.experiments.stages.built_network import Tuned, built_network
from bitfront.experiments.stages.facts import facts
from bitfront.experiments.stages.promises import Network, promises
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import ExportRecord
from bitfront.search.executors.local import one_thread
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.targets.base import ExportOptions
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress
from bitfront.supernet.subnet import Subnet

_MOST_LOST = 0.005

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class How:
    """What is wanted of an export.

    ``samples``: how many test images go along; ``progress_of`` makes a listener from a label; ``owner`` must
    work on the experiment where it is to be recorded; None: nobody in particular.
    """

    format_name: str
    options: ExportOptions
    finetune_epochs: int
    samples: int
    progress_of: Callable[[str], Progress]
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written, with what is in its manifest."""

    record: ExportRecord
    folder: Path
    manifest: Manifest

    @property
    def top1_test(self) -> float | None:
        """Accuracy of the main form itself, None where it could not be run here."""
        return self.manifest.forms[0].tested.top1

    @property
    def top1_fake_quant(self) -> float:
        """Accuracy, on the whole test split, of the fake-quantized network that the forms were made from."""
        return float(self.manifest.measured["top1_test_fake_quant"] or 0.0)


@dataclass(frozen=True, slots=True)
class Exporter:
    """Makes bundles of one experiment's networks."""

    run: Run
    how: How
    evaluator: Evaluator
    supernet_id: str

    def refuse_misfit(self, network: Network) -> None:
        """Raise UnsupportedError if the format can not hold the network, before work that takes long."""
        with one_thread():
            subnet = self.evaluator.subnet(self.evaluator.supernet.space.blocks(network.genome))
            forms_of(subnet.fold(), self.how.format_name, self.how.options)

    def export(self, network: Network, folder: Path) -> Exported:
        """Write the bundle of one network, and record it.

        Raises:
            UnsupportedError: the format can not hold it; nothing is written.
            NumericalError: fine-tuning diverged.
            StorageError: the folder can not be written.
        """
        with one_thread():
            subnet, tuned = self._built(network)
            folded = subnet.fold()
            forms, left_out = forms_of(folded, self.how.format_name, self.how.options)
            fake_quant = self._fake_quant(network, folded, subnet)
            answers = [self._answers(network, form, folded) for form in forms]
            samples = self._samples(zip(forms, answers, strict=True), folded, subnet)
        entries = [self._entry(network, *one, fake_quant) for one in zip(forms, answers, strict=True)]
        known = {
            **self._promised(network, tuned, entries[0], fake_quant),
            **facts(self.run, network, folded, self.evaluator, self.supernet_id),
        }
        own = own_files(folded, samples)
        manifest = made_manifest(known, entries, left_out, samples, own)
        files = bundle_files(manifest, forms, own, self._confusion(answers[0]))
        write_bundle(folder, files)
        return Exported(self._recorded(network, folder, entries[0], files), folder, manifest)

    def _built(self, network: Network) -> tuple[Subnet, Tuned | None]:
        epochs, progress = self.how.finetune_epochs, self.how.progress_of(f"fine-tuning {network.label}")
        return built_network(self.run, self.evaluator, network, epochs, progress)

    def _fake_quant(self, network: Network, folded: Folded, subnet: Subnet) -> Classes:
        """The class (n,) that the network itself names for each test image, batch by batch."""
        progress = self.how.progress_of(f"testing {network.label}")
        return self.evaluator.classes(subnet, "test", folded.resolution, progress)

    def _samples(self, forms: Iterable[tuple[Form, Answers]], folded: Folded, subnet: Subnet) -> Samples:
        dataset = self.evaluator.dataset
        pixels, labels = drawn(dataset, self.how.samples, self.run.rng("samples"))
        images = fed(pixels, dataset.mean, dataset.std, folded.resolution)
        said = {FAKE_QUANT: _logits(subnet, torch.from_numpy(images))}
        for form, answers in forms:
            count = len(images) if answers.are_all else MOST_OF_SLOW
            with contextlib.suppress(UnsupportedError):  # what runs it is not here, as its test tells
                said[form.name] = run_form(form.target, form.files, images[:count])
        return Samples(pixels, images, labels, said)

    def _answers(self, network: Network, form: Form, folded: Folded) -> Answers:
        dataset = self.evaluator.dataset
        images = fed_images(dataset, "test", folded.resolution)
        progress = self.how.progress_of(f"testing {network.label} as {form.name}")
        return answers_of(form, images, len(dataset.test), progress)

    def _entry(self, network: Network, form: Form, answers: Answers, fake_quant: Classes) -> FormEntry:
        labels = self.evaluator.dataset.test.labels
        tested = answers.tested(labels, fake_quant)
        before = float(np.mean((fake_quant == labels)[answers.rows])) if tested.images else 0.0
        if tested.top1 is None:
            self.run.reporter.say(f"{network.label} was not tested as {form.name}: {tested.why}")
        elif abs(tested.top1 - before) > _MOST_LOST:
            self.run.reporter.say(
                f"warning: {network.label} has test accuracy {tested.top1:.2%} as {form.name}, but {before:.2%} "
                "as the fake-quantized network that the file was made from"
            )
        return form_entry(form, tested, self.how.options.runtime)

    def _confusion(self, answers: Answers) -> NDArray[np.int64] | None:
        dataset = self.evaluator.dataset
        return answers.confusion(dataset.test.labels, dataset.classes) if len(answers.rows) else None

    def _promised(
        self, network: Network, tuned: Tuned | None, main: FormEntry, fake_quant: Classes
    ) -> dict[str, object]:
        tested = {
            "top1_test_fake_quant": float(np.mean(fake_quant == self.evaluator.dataset.test.labels)),
            "top1_test_exported": main.tested.top1,
            "size_bytes": main.described["size_bytes"],
        }
        known = promises(self.run, network, tuned.top1 if tuned else None, tested)
        return {**known, "finetuning": tuned.document() if tuned else None}

    def _recorded(
        self, network: Network, folder: Path, main: FormEntry, files: Mapping[str, bytes]
    ) -> ExportRecord:
        """A form of one file is recorded as that file, else the folder is, with the digest of its zip file."""
        path = folder.absolute()
        if self.how.format_name != ALL and len(main.files) == 1:
            path, digest = path / main.main_file, main.files[main.main_file].sha256
        else:
            digest = zip_digest(with_sums(files))
        candidate, name, top1 = network.candidate.id, self.how.format_name, main.tested.top1
        record = ExportRecord(candidate, name, str(path), digest, top1, device=network.owner)
        self.run.store.put_export(self.run.experiment_id, record, self.how.owner)
        return record


def _logits(subnet: Subnet, images: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        made: NDArray[np.float32] = subnet(images).cpu().numpy()
    return made
