"""What can be worked out anew of a bundle as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.experiments.bundle.card import card_text
from bitfront.experiments.bundle.checks import Check, checked, refuse
from bitfront.experiments.bundle.described import described_layers, tool_versions
from bitfront.experiments.bundle.entries import look_at_entries
from bitfront.experiments.bundle.example import example_files
from bitfront.experiments.bundle.form_checks import MOST_APART, MOST_LOST, FormChecks
from bitfront.experiments.bundle.manifest import Manifest
from bitfront.experiments.bundle.names import CARD, NETWORK, SAMPLES
from bitfront.experiments.bundle.samples import FAKE_QUANT, Samples, fed, read_samples
from bitfront.experiments.bundle.testing import Classes, classes_of, fed_images, spread_rows
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.network_file import read_network, stored_tensors
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.torch_source import built, source
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress

_OF_PIXELS = 1e-5
_TOOLS = ("bitfront", "torch", "onnx", "numpy", "safetensors", "zlib")
_AT_ONCE = 32


class BundleChecks:
    """The checks of one bundle, whose files are those of its sums.

    Args:
        files: by name.
        manifest: what was read of its own.
        dataset: to measure accuracy on, or None.
        progress: told of the images.
    """

    def __init__(
        self, files: Mapping[str, bytes], manifest: Manifest, dataset: Dataset | None, progress: Progress
    ) -> None:
        self._files, self._manifest, self._dataset, self._progress = files, manifest, dataset, progress
        self._folded: Folded | None = None
        self._samples: Samples | None = None
        self._fake_quant: Classes | None = None
        self._is_described = True

    def all(self) -> Iterator[Check]:
        """One after the other."""
        manifest, files = self._manifest, self._files
        entries = checked("manifest and files", lambda: look_at_entries(manifest, files))
        yield entries
        if entries.state == "fails":
            yield Check("all else", "not possible", "the manifest does not say what the files are")
            return
        yield checked("network", self._network_as_told)
        yield checked("samples", self._samples_as_told)
        yield checked("network: answers", self._network_answers)
        yield checked("data", self._data_as_told)
        if self._has_data:
            yield checked("network: accuracy", self._network_accuracy)
        for form in manifest.forms:
            yield from self._of_form(form.format)
        yield checked("card and examples", self._texts)
        yield Check("pictures", "not possible", "they are compared with their sums alone")
        yield Check("search", "not possible", "its experiment alone knows what was predicted and measured there")

    def _of_form(self, name: str) -> Iterator[Check]:
        manifest, same = self._manifest, self._is_same_tools
        form = FormChecks(manifest.form(name), manifest, self._files, self._folded, self._samples, same)
        found = [*form.all()]
        self._is_described &= any(one.name == f"{name}: description" and one.state == "holds" for one in found)
        yield from found
        dataset = self._dataset if self._has_data and found[-1].state == "holds" else None
        if dataset is not None:
            yield checked(f"{name}: accuracy", lambda: form.accuracy(dataset, self._fake_quant, self._progress))

    @property
    def _is_same_tools(self) -> bool:
        here, told = tool_versions(), self._manifest.versions
        return all(here.get(tool) == told.get(tool) for tool in _TOOLS)

    @property
    def _has_data(self) -> bool:
        return self._dataset is not None and self._dataset.hash == self._manifest.data.sha256

    def _network_as_told(self) -> str:
        manifest, before = self._manifest, self._manifest.preprocessing
        if manifest.network is None:
            raise UnsupportedError("the bundle has no file of the network itself")
        folded = read_network(self._files[NETWORK], NETWORK).folded
        if json.loads(json.dumps(described_layers(folded))) != [*manifest.layers]:
            raise ValueError("its layers are not those that the manifest tells of")
        if before.shape[1:] != (folded.in_channels, folded.resolution, folded.resolution):
            raise ValueError(f"it takes no images of the shape {before.shape[1:]} that the manifest tells of")
        if len(before.classes) != folded.classes:
            raise ValueError(f"it has {folded.classes} classes, the manifest {len(before.classes)}")
        self._folded = folded
        return f"its {len(folded.layers)} layers are as the manifest says"

    def _samples_as_told(self) -> str:
        manifest, before = self._manifest, self._manifest.preprocessing
        samples = read_samples(self._files[SAMPLES], SAMPLES)
        if len(samples.labels) != manifest.samples.images:
            raise ValueError(f"there are {len(samples.labels)}, the manifest says {manifest.samples.images}")
        if samples.pixels.shape[1:] != before.pixels or samples.images.shape[1:] != before.shape[1:]:
            raise ValueError("their shapes are not those that the manifest tells of")
        if not (samples.labels < len(before.classes)).all():
            raise ValueError("their labels are no classes that the manifest tells of")
        made = fed(samples.pixels, before.mean, before.std, before.shape[-1])
        if not np.abs(made - samples.images).max() <= _OF_PIXELS:
            raise ValueError("images are not what the manifest's steps make of the pixels")
        names = {FAKE_QUANT, *(form.format for form in manifest.forms if form.tested.images)}
        if samples.logits.keys() != names or any(
            logits.shape[1] != len(before.classes) for logits in samples.logits.values()
        ):
            raise ValueError("answers are not of the forms and classes that the manifest tells of")
        self._samples = samples
        return f"{len(samples.labels)} images are what the manifest's steps make of their pixels"

    def _network_answers(self) -> str:
        if self._samples is None:
            raise UnsupportedError("there are no samples that can be read")
        told = self._samples.logits[FAKE_QUANT]
        apart = float(np.abs(self._logits(self._samples.images) - told).max())
        if not apart <= MOST_APART * float(np.ptp(told)):
            raise ValueError(f"its logits are up to {apart:.3g} from those in the samples")
        return f"{len(told)} samples have the logits that are told, within {apart:.2g}"

    def _logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the network itself, in fake quantization, by a module that is made of it here."""
        if self._folded is None:
            raise UnsupportedError("the network itself can not be read from the bundle")
        network = built(source(self._folded), stored_tensors(self._folded))
        with torch.no_grad():
            parts = [network(part) for part in torch.split(torch.from_numpy(images), _AT_ONCE)]
        logits: NDArray[np.float32] = torch.cat(parts).numpy()
        return logits

    def _data_as_told(self) -> str:
        if self._dataset is None:
            raise UnsupportedError("give --data to measure accuracy again")
        if not self._has_data:
            raise ValueError("this is not the data set that the manifest names: its hash is another")
        return f"{self._manifest.data.name} is the data set that the manifest names"

    def _network_accuracy(self) -> str:
        assert self._dataset is not None
        labels, side = self._dataset.test.labels, self._manifest.preprocessing.shape[-1]
        rows, images = spread_rows(len(labels), len(labels)), fed_images(self._dataset, "test", side)
        self._fake_quant = classes_of(self._logits, images, rows, self._progress)
        found = float(np.mean(self._fake_quant == labels))
        told = self._manifest.measured.get("top1_test_fake_quant")
        if told is None or abs(found - told) > MOST_LOST:
            raise ValueError(f"it has {found:.4f} on the test images, the manifest says {told}")
        return f"{found:.4f} on {len(labels):,} test images, the manifest says {told:.4f}"

    def _texts(self) -> str:
        manifest = self._manifest
        unknown = sorted({form.format for form in manifest.forms} - {*TARGETS.names()})
        if unknown:
            raise UnsupportedError(f"this bitfront has no format {', '.join(unknown)}")
        wanted = {CARD: card_text(manifest).encode(), **example_files(manifest.forms, manifest.main)}
        other = sorted(name for name, data in wanted.items() if self._files.get(name) != data)
        if other and not self._is_same_tools:
            raise UnsupportedError(f"{', '.join(other)} would be written otherwise by this version")
        refuse(f"{name} is not what the manifest gives" for name in other)
        if not self._is_described:
            raise UnsupportedError(
                "the manifest gives the same, but what it says of its forms is not known to hold"
            )
        return f"{', '.join(sorted(wanted))} are what the manifest gives"
