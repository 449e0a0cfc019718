"""What can be worked out anew of one form in a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.bundle.checks import Check, checked, refuse
from bitfront.experiments.bundle.forms import run_form
from bitfront.experiments.bundle.manifest import FormEntry, Manifest
from bitfront.experiments.bundle.samples import FAKE_QUANT, Samples
from bitfront.experiments.bundle.testing import Classes, classes_of, fed_images, spread_rows
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, ExportTarget
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress

MOST_APART = 0.05
"""Of the range of logits: codes may round another way on another machine."""
MOST_LOST = 0.005
"""Of accuracy, likewise."""
MADE_AGAIN = "made again"
"""How the check that proves what a form is is called, after the form's name."""
_MOST_FROM_NETWORK = 0.25
"""Of the range of the network's own logits: how far those of a form may be that is not known to be made of it."""


@dataclass(frozen=True, slots=True)
class FormChecks:
    """A form and what it is compared with. ``folded`` is None where the bundle's network can not be had.

    ``is_same_tools``: whether the same versions as here wrote it, so that files must come out the same.
    """

    entry: FormEntry
    manifest: Manifest
    files: Mapping[str, bytes]
    folded: Folded | None
    samples: Samples | None
    is_same_tools: bool

    def all(self) -> Iterator[Check]:
        """One after the other, the answers last; no program is run that might be another network's."""
        name = self.entry.format
        if name not in TARGETS.names():
            yield Check(f"{name}: {MADE_AGAIN}", "not possible", "this bitfront has no such format")
            return
        made = checked(f"{name}: {MADE_AGAIN}", self._made_again)
        yield made
        yield checked(f"{name}: description", self._described)
        if made.state == "holds":
            yield checked(f"{name}: answers", self._answers)
        elif made.state == "not possible" and self._target.is_data:
            yield checked(f"{name}: answers", self._answers_unmade)
        else:
            known = "not" if made.state == "fails" else "not known to be"
            yield Check(
                f"{name}: answers", "not possible", f"it is not run, as it is {known} what the network gives"
            )

    @property
    def _target(self) -> ExportTarget:
        return TARGETS.get(self.entry.format)

    @property
    def _own(self) -> dict[str, bytes]:
        return {name: self.files[name] for name in self.entry.files if name in self.files}

    def _network(self) -> Folded:
        if self.folded is None:
            raise UnsupportedError("the network itself can not be read from the bundle")
        return self.folded

    def _made_again(self) -> str:
        folded, own = self._network(), self._own
        try:
            made = self._target.files(folded, ExportOptions(self.entry.runtime))
        except UnsupportedError as error:
            raise ValueError(f"the network in the bundle has no such form ({error})") from error
        other = sorted(name for name in {*made, *own} if made.get(name) != own.get(name))
        if other and not self.is_same_tools:
            raise UnsupportedError(f"{', '.join(other)} would be other bytes, as other versions wrote them")
        refuse([f"{name} is not what the network in the bundle gives" for name in other])
        return f"the network in the bundle gives the same bytes ({', '.join(sorted(own))})"

    def _described(self) -> str:
        folded = self._network()
        described = json.loads(json.dumps(self._target.described(folded, self._own)))
        told = self.entry.described
        other = sorted(key for key in {*described, *told} if described.get(key) != told.get(key))
        if other and not self.is_same_tools:
            raise UnsupportedError(f"this version describes {', '.join(other)} in another way")
        refuse([f"the manifest does not say of {key} what its files say" for key in other])
        return f"{', '.join(sorted(told))} are as the manifest says"

    def _answers(self) -> str:
        samples, name = self._samples(), self.entry.format
        if name not in samples.logits:
            raise UnsupportedError("the samples have no answers of it, as it could not run where it was written")
        told = samples.logits[name]
        return self._as_told(self._logits(samples.images[: len(told)]), told)

    def _answers_unmade(self) -> str:
        """Of a form that could be any other network's: what it says must also be what the network itself says."""
        samples, name = self._samples(), self.entry.format
        own = samples.logits[FAKE_QUANT]
        own = own[: len(samples.logits.get(name, own))]
        logits = self._logits(samples.images[: len(own)])
        self._refuse_shape(logits, own)
        apart = float(np.abs(logits - own).max())
        if not apart <= _MOST_FROM_NETWORK * float(np.ptp(own)):
            raise ValueError(f"its logits are up to {apart:.3g} from the network's own")
        near = f"it is within {apart:.2g} of the network's own logits"
        return f"{near}; {self._as_told(logits, samples.logits[name])}" if name in samples.logits else near

    def _samples(self) -> Samples:
        if self.samples is None:
            raise UnsupportedError("there are no samples that can be read")
        return self.samples

    def _refuse_shape(self, logits: NDArray[np.float32], told: NDArray[np.float32]) -> None:
        if logits.shape != told.shape:
            raise ValueError(f"it gives logits of shape {logits.shape}, the samples have {told.shape}")

    def _as_told(self, logits: NDArray[np.float32], told: NDArray[np.float32]) -> str:
        self._refuse_shape(logits, told)
        apart = float(np.abs(logits - told).max())
        if not apart <= (0.0 if self._target.is_exact else MOST_APART * float(np.ptp(told))):
            raise ValueError(f"its logits are up to {apart:.3g} from those in the samples")
        how = "to the bit" if apart == 0 else f"within {apart:.2g}"
        return f"{len(told)} samples have the logits that are told, {how}"

    def _logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return run_form(self._target, self._own, images)

    def accuracy(self, data: Dataset, fake_quant: Classes | None, progress: Progress) -> str:
        """Measure it again on the same images; says what came of it.

        ``fake_quant``: the classes (n,) that the network itself names for the test images, where that is known.

        Raises:
            ValueError: it is not what the manifest says.
            UnsupportedError: it was not tested where it was written.
        """
        told, labels = self.entry.tested, data.test.labels
        if told.top1 is None or told.agreement is None:
            raise UnsupportedError("it was not tested where it was written")
        rows = spread_rows(len(labels), told.images)
        images = fed_images(data, "test", self.manifest.preprocessing.shape[-1])
        classes = classes_of(self._logits, images, rows, progress)
        top1, most = float(np.mean(classes == labels[rows])), 0.0 if self._target.is_exact else MOST_LOST
        if abs(top1 - told.top1) > most:
            raise ValueError(f"it has {top1:.4f} on {len(rows)} test images, the manifest says {told.top1:.4f}")
        if fake_quant is not None and abs(np.mean(classes == fake_quant[rows]) - told.agreement) > MOST_LOST:
            raise ValueError(f"it does not agree with the network on {told.agreement:.2%} of the images")
        return f"{top1:.4f} on {len(rows):,} test images, the manifest says {told.top1:.4f}"
