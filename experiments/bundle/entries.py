"""Whether a manifest names the files that are there, and does not contradict itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from bitfront.experiments.bundle.card import CLASSES, JUDGED, LAYERS
from bitfront.experiments.bundle.checks import refuse
from bitfront.experiments.bundle.example import example_files, example_name
from bitfront.experiments.bundle.manifest import Manifest
from bitfront.experiments.bundle.names import CARD, MANIFEST, NETWORK, SAMPLES, SUMS


def look_at_entries(manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Says what was compared.

    Raises:
        ValueError: the manifest tells of other files, or something else than what it tells elsewhere.
    """
    known = {MANIFEST, SUMS, CARD, SAMPLES, LAYERS, JUDGED}
    known |= {NETWORK} if manifest.network else set()
    known |= {CLASSES} if manifest.forms[0].tested.images else set()
    known |= files.keys() & {example_name(form, manifest.main) for form in manifest.forms}
    known |= example_files(manifest.forms, manifest.main).keys()
    known |= {name for form in manifest.forms for name in form.files}
    refuse(
        [
            *(f"{name} is not told of" for name in sorted(files.keys() - known)),
            *(f"{name} is missing" for name in sorted(known - files.keys())),
            *_wrong_entries(manifest, files),
            *_contradictions(manifest),
        ]
    )
    return f"{len(manifest.forms)} forms have the files that the manifest says, and it agrees with itself"


def _wrong_entries(manifest: Manifest, files: Mapping[str, bytes]) -> Iterator[str]:
    for name in (SAMPLES, *([NETWORK] if manifest.network else [])):
        if hashlib.sha256(files.get(name, b"")).hexdigest() != manifest.hashes.get(name):
            yield f"{name} is not the file that the manifest means"
    for form in manifest.forms:
        if form.main_file not in form.files:
            yield f"the main file of {form.format} is none of its files"
        for name, entry in form.files.items():
            data = files.get(name, b"")
            if (hashlib.sha256(data).hexdigest(), len(data)) != (entry.sha256, entry.size_bytes):
                yield f"{name} is not the file that the manifest means"


def _contradictions(manifest: Manifest) -> Iterator[str]:
    main, measured, before = manifest.forms[0], manifest.measured, manifest.preprocessing
    names = [form.format for form in manifest.forms]
    if len(set(names)) < len(names) or main.format != manifest.main:
        yield "the main form is not the first one, or a format comes twice"
    if manifest.hashes.get("data") != manifest.data.sha256:
        yield "there are two hashes of the data"
    if main.main_file in main.files and manifest.hashes.get(main.main_file) != main.files[main.main_file].sha256:
        yield f"there are two hashes of {main.main_file}"
    if measured.get("top1_test_exported") != main.tested.top1:
        yield "there are two accuracies of the main form"
    if measured.get("size_bytes") != main.described.get("size_bytes"):
        yield "there are two sizes of the main form"
    if not len(before.mean) == len(before.std) == before.pixels[0] == before.shape[1]:
        yield "mean and std are not those of the channels"
    for form in manifest.forms:
        tested = form.tested
        is_told = (tested.images > 0) == (tested.top1 is not None) == (tested.agreement is not None)
        if not is_told or tested.images > tested.images_of_split:
            yield f"what is told of the test of {form.format} can not be"
        if tested.images_of_split != manifest.data.images.get("test"):
            yield f"{form.format} was not tested on the data set's test images"
