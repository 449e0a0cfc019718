"""``model_card.md``: a bundle for people, after Mitchell et al. 2019 (Model Cards for Model Reporting)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from bitfront.experiments.bundle.example import example_files
from bitfront.experiments.bundle.judged import Judged, is_source, judged
from bitfront.experiments.bundle.manifest import FormEntry, Manifest
from bitfront.experiments.bundle.names import EXAMPLE, SAMPLES

LAYERS, JUDGED, CLASSES = (f"pictures/{name}.png" for name in ("layers", "judged", "classes"))

_SATURATES = {
    "onnxruntime": "On x86 CPUs without VNNI, 8-bit sums of ONNX Runtime saturate, and `model.onnx` answers "
    "otherwise than here, unless `session.x64quantprecision` is `1`, as its example has it.",
    "openvino": "On x86 CPUs without VNNI, 8-bit sums of OpenVINO saturate, whatever its settings, and "
    "`model.onnx` answers otherwise than here: test it on such a CPU before you rely on it there.",
}

OWN_IMAGE = """import json

import numpy as np

before = json.load(open("manifest.json"))["preprocessing"]


def prepared(pixels):  # uint8 (channels, size, size), as the data set has them
    mean, std = (np.array(before[name])[:, None, None] for name in ("mean", "std"))
    image, size, wanted = (pixels / 255 - mean) / std, pixels.shape[-1], before["shape"][-1]
    at = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    low, high, share = at.astype(int), np.minimum(at.astype(int) + 1, size - 1), at % 1
    image = image[:, low] * (1 - share)[:, None] + image[:, high] * share[:, None]
    image = image[..., low] * (1 - share) + image[..., high] * share
    return image[None].astype(np.float32)
"""


def card_text(manifest: Manifest) -> str:
    """The card; it is made of the manifest alone."""
    one = manifest.experiment
    device = f" for {one.device}" if one.device else ""
    parts = [
        f"# {plain(one.name)}: candidate {one.candidate}{plain(device)}",
        f"A network that tells {len(manifest.preprocessing.classes)} classes of images apart. bitfront "
        f"{plain(manifest.versions.get('bitfront', ''))} found it in experiment `{_code(one.id)}` (seed "
        f"{one.seed}).",
        _table([("", ""), *_facts(manifest)]),
        f"![The network layer by layer]({LAYERS})",
        *_quality(manifest),
        *_use(manifest),
        *_forms(manifest),
        *_origins(manifest),
        *_limits(manifest),
        "## Licences",
        _table([("Of", "Licence"), *manifest.licences.items()]),
        "## Is this what was written?",
        "`sha256sum -c SHA256SUMS` compares all files with their sums; `bitfront export verify FOLDER` also makes "
        "the forms again, runs them on the samples, and compares.",
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Text that may hold anything, as it stands in one line or cell of Markdown."""
    line = " ".join(str(text).split())
    for mark in "\\`*_[]<>|#":
        line = line.replace(mark, f"\\{mark}")
    return line


def _code(text: str) -> str:
    """The same between code marks."""
    return " ".join(text.split()).replace("`", "'")


def _table(rows: Iterable[tuple[object, ...]]) -> str:
    head, *rest = [f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows]
    return "\n".join([head, f"|{'---|' * (head.count(' | ') + 1)}", *rest])


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    before, layers, data = manifest.preprocessing, manifest.layers, manifest.data
    _, channels, height, width = before.shape
    yield "Input", f"{channels} x {height} x {width}, float32"
    yield "Output", f"logits of {len(before.classes)} classes"
    yield "Weights", f"{sum(layer['weights'] for layer in layers):,} in {len(layers)} layers"
    yield "Multiplications and additions", f"{sum(layer['macs'] for layer in layers):,} an image"
    yield "Formats of weights", _shares(layers, "weight_format")
    yield "Formats of layers' inputs", _shares(layers, "activation_format")
    counts = ", ".join(f"{count:,} for {split}" for split, count in data.images.items())
    yield "Images", f"{data.name}: {counts}"
    yield "Written", manifest.created_at


def _shares(layers: Iterable[dict[str, Any]], kind: str) -> str:
    found = Counter(str(layer[kind]) for layer in layers)
    return ", ".join(f"{name}: {count} layers" for name, count in sorted(found.items()))


def _quality(manifest: Manifest) -> Iterator[str]:
    yield "## How good it is"
    yield f"![Predicted beside measured]({JUDGED})"
    rows = [(one.title, one.axis.text(one.predicted), _measured(one)) for one in judged(manifest)]
    yield _table([("", "Predicted by the search", "Measured"), *rows])
    yield (
        "Test images took no part in training or in any choice. Accuracy is the share of images whose class is "
        "named first."
    )
    if manifest.forms[0].tested.images:
        yield f"![Classes of test images]({CLASSES})"


def _measured(one: Judged) -> str:
    return "; ".join(f"{one.axis.text(value)} ({what})" for what, value in one.measured) or "not measured"


def _use(manifest: Manifest) -> Iterator[str]:
    before, after = manifest.preprocessing, manifest.postprocessing
    examples = example_files(manifest.forms, manifest.main)
    yield "## How to run it"
    if examples:
        named = ", ".join(f"`python {name}`" for name in sorted(examples))
        yield f"In this folder, {named} runs a form on the first image of `{SAMPLES}`."
    yield f"What goes in is {before.layout}, made of pixels in these steps:"
    yield _list(before.steps)
    mean, std = (", ".join(map(str, values)) for values in (before.mean, before.std))
    yield f"Mean by channel: {mean}; std: {std}."
    yield f"What comes out are {plain(after.output)}:"
    yield _list(after.steps)
    yield f"The same in Python, for an image of your own; `{EXAMPLE}` goes on from there:"
    yield f"```python\n{OWN_IMAGE}```"
    yield "Classes, in order: " + ", ".join(plain(name) for name in before.classes)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"{number}. {plain(item)}" for number, item in enumerate(items, start=1))


def _forms(manifest: Manifest) -> Iterator[str]:
    yield "## Forms"
    rows = [(one.format, ", ".join(one.files), *_bytes(one), *_tested(one)) for one in manifest.forms]
    sizes = ("Bytes of weights, biases and scales", "Bytes of all files")
    yield _table([("Format", "Files", *sizes, "Accuracy", "Agrees with the trained network", "On"), *rows])
    yield from (_in_memory(one) for one in manifest.forms if is_source(one))
    if manifest.left_out:
        yield "Formats that can not hold this network:"
        yield "\n".join(f"- {plain(one.format)}: {plain(one.why)}" for one in manifest.left_out)


def _bytes(form: FormEntry) -> tuple[str, str]:
    whole = sum(file.size_bytes for file in form.files.values())
    return f"{form.described['size_bytes']:,}", f"{whole:,}"


def _in_memory(form: FormEntry) -> str:
    constants, buffer = (f"{form.described[key]:,}" for key in ("size_bytes", "buffer_bytes"))
    return (
        f"The files of `{plain(form.format)}` are text for a compiler. What a device holds of it, beside its "
        f"instructions, are {constants} bytes of constants, and a buffer of {buffer} bytes while it runs."
    )


def _tested(form: FormEntry) -> tuple[str, str, str]:
    tested = form.tested
    if tested.top1 is None or tested.agreement is None:
        return "not tested", "", tested.why
    images = f"{tested.images:,} of {tested.images_of_split:,} test images"
    return f"{tested.top1:.2%}", f"{tested.agreement:.2%}", f"{images}{f' ({tested.why})' if tested.why else ''}"


def _origins(manifest: Manifest) -> Iterator[str]:
    yield "## Where the numbers come from"
    found = manifest.devices or {"": manifest.device or {}}
    for name, provenance in found.items():
        rows = [(key, value) for key, value in provenance.items() if not isinstance(value, dict | list)]
        yield _table([("Costs", plain(name)), *rows])
    machine = {key: manifest.machine.get(key, "") for key in ("cpu", "system")}
    yield _table([("Forms were tested on", ""), *machine.items(), *manifest.versions.items()])


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "## What it is not"
    names = [
        f"It names one of its {len(manifest.preprocessing.classes)} classes for every picture, also where none is "
        "right. Look at the probability, and test on pictures of your own kind before you rely on it.",
        f"Its accuracy is that on images like those of {plain(manifest.data.name)}; nothing is known of others.",
        "It was not tested for fairness between people, nor against pictures that are made to deceive it.",
    ]
    names += [_SATURATES[form.runtime] for form in manifest.forms if form.format == "onnx"]
    if manifest.finetuning is not None:
        names.append(f"It was fine-tuned after the search: {plain(manifest.finetuning.get('exported', ''))}.")
    yield "\n".join(f"- {name}" for name in names)
