"""What is in a bundle, as files that are not written yet."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from bitfront.experiments.bundle.card import CLASSES, JUDGED, LAYERS, card_text
from bitfront.experiments.bundle.example import example_files
from bitfront.experiments.bundle.forms import Form, LeftOut
from bitfront.experiments.bundle.judged import judged
from bitfront.experiments.bundle.manifest import (
    FileEntry,
    FormEntry,
    LeftOutEntry,
    Manifest,
    SamplesEntry,
    Tested,
    manifest_bytes,
)
from bitfront.experiments.bundle.names import CARD, MANIFEST, NETWORK, SAMPLES
from bitfront.experiments.bundle.pictures import Confusion, classes_png, judged_png, layers_png
from bitfront.experiments.bundle.samples import Samples, samples_bytes
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.network_file import network_bytes
from bitfront.supernet.export.targets.base import RuntimeName
from bitfront.supernet.folded import Folded


def form_entry(form: Form, tested: Tested, runtime: RuntimeName) -> FormEntry:
    """What the manifest says of a form."""
    return FormEntry(
        format=form.name,
        main_file=form.target.main_file,
        runtime=runtime,
        files={
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in form.files.items()
        },
        described=form.described,
        tested=tested,
    )


def made_manifest(
    facts: Mapping[str, Any],
    entries: Sequence[FormEntry],
    left_out: Sequence[LeftOut],
    samples: Samples,
    own: Mapping[str, bytes],
) -> Manifest:
    """The manifest; ``facts`` are its fields but for those of the others, ``own`` what `own_files` gave."""
    main = entries[0]
    hashes = {**facts["hashes"], main.main_file: main.files[main.main_file].sha256}
    hashes |= {name: hashlib.sha256(data).hexdigest() for name, data in own.items()}
    return Manifest(
        **{**facts, "hashes": hashes},
        main=main.format,
        forms=tuple(entries),
        left_out=tuple(LeftOutEntry(format=one.format, why=one.why) for one in left_out),
        network=NETWORK if NETWORK in own else None,
        samples=SamplesEntry(file=SAMPLES, images=len(samples.labels), are_noise=bool((samples.labels < 0).all())),
    )


def own_files(folded: Folded, samples: Samples) -> dict[str, bytes]:
    """What is no form's: samples, and the network that forms can be made of again, if its names can be stored."""
    files = {SAMPLES: samples_bytes(samples)}
    with contextlib.suppress(UnsupportedError):
        files[NETWORK] = network_bytes(folded)
    return files


def bundle_files(
    manifest: Manifest, forms: Sequence[Form], own: Mapping[str, bytes], confusion: Confusion | None
) -> dict[str, bytes]:
    """All files of a bundle but its sums.

    ``own`` is what `own_files` gave; ``confusion`` (k, k) counts test images of a class (row) by the
    main form's answer (column), where it ran.

    Raises:
        ValueError: two files have one name.
    """
    described = {MANIFEST: manifest_bytes(manifest), **card_files(manifest, confusion)}
    examples = example_files(manifest.forms, manifest.main)
    parts = [described, examples, own, *(one.files for one in forms)]
    names = [name for part in parts for name in part]
    if len(set(names)) < len(names):
        raise ValueError(f"two files of a bundle have one name: {sorted(names)}")
    return {name: data for part in parts for name, data in part.items()}


def card_files(manifest: Manifest, confusion: Confusion | None) -> dict[str, bytes]:
    """The card and its pictures, of which that of classes needs ``confusion``."""
    pictures = {LAYERS: layers_png(manifest.layers), JUDGED: judged_png(judged(manifest))}
    if confusion is not None:
        pictures[CLASSES] = classes_png(confusion, manifest.preprocessing.classes)
    return {CARD: card_text(manifest).encode(), **pictures}
