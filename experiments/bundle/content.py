"""What is in a bundle, as files that are not written yet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from bitfront.experiments.bundle.forms import Form, LeftOut
from bitfront.experiments.bundle.manifest import (
    FileEntry,
    FormEntry,
    LeftOutEntry,
    Manifest,
    SamplesEntry,
    Tested,
    manifest_bytes,
)
from bitfront.experiments.bundle.names import MANIFEST, SAMPLES
from bitfront.experiments.bundle.samples import Samples, samples_bytes
from bitfront.supernet.export.targets.base import RuntimeName


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
    facts: Mapping[str, Any], entries: Sequence[FormEntry], left_out: Sequence[LeftOut], samples: Samples
) -> Manifest:
    """The manifest; ``facts`` are its fields but for those of forms and samples."""
    main = entries[0]
    hashes = {**facts["hashes"], main.main_file: main.files[main.main_file].sha256}
    return Manifest(
        **{**facts, "hashes": hashes},
        main=main.format,
        forms=tuple(entries),
        left_out=tuple(LeftOutEntry(format=one.format, why=one.why) for one in left_out),
        samples=SamplesEntry(file=SAMPLES, images=len(samples.labels), are_noise=bool((samples.labels < 0).all())),
    )


def bundle_files(manifest: Manifest, forms: Sequence[Form], samples: Samples) -> dict[str, bytes]:
    """All files of a bundle but its sums.

    Raises:
        ValueError: two files have one name.
    """
    parts = [{MANIFEST: manifest_bytes(manifest), SAMPLES: samples_bytes(samples)}, *(one.files for one in forms)]
    names = [name for part in parts for name in part]
    if len(set(names)) < len(names):
        raise ValueError(f"two files of a bundle have one name: {sorted(names)}")
    return {name: data for part in parts for name, data in part.items()}
