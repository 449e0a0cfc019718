"""What was predicted of a network beside what was measured of it, for tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitfront.experiments.bundle.manifest import FormEntry, Manifest
from bitfront.experiments.plot_points import Axis, axis_of
from bitfront.search.constraints import METRICS, base_metric

_ACCURACIES = (("validation images", "top1_validation"), ("test images, as trained", "top1_test_fake_quant"))


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric: ``title`` names it, and its device where there are several; ``measured`` are (what, value)."""

    title: str
    axis: Axis
    predicted: float | None
    measured: tuple[tuple[str, float], ...]


def judged(manifest: Manifest) -> list[Judged]:
    """Every metric that was predicted or measured, in the order of `METRICS`."""
    order = list(METRICS)
    names = {name for name in (*manifest.predicted, "top1", "size_bytes") if base_metric(name) in METRICS}
    found = []
    for name in sorted(names, key=lambda name: (order.index(base_metric(name)), name)):
        predicted, measured = manifest.predicted.get(name), tuple(_measured(manifest, name))
        base, _, device = name.partition("@")
        rows = [{"predicted": {base: value}, "measured": {}} for value in (predicted, *(v for _, v in measured))]
        axis = axis_of(base, rows)
        title = f"{'Accuracy' if base == 'top1' else axis.name}{f' on {device}' if device else ''}"
        found.append(Judged(title, axis, predicted, measured))
    return found


def is_source(form: FormEntry) -> bool:
    """Whether its main file is a text for a compiler, whose length says nothing of what a device holds."""
    return form.main_file.endswith(".c")


def _measured(manifest: Manifest, name: str) -> Iterator[tuple[str, float]]:
    known = manifest.measured
    if name == "top1":
        for what, key in _ACCURACIES:
            value = known.get(key)
            if value is not None:
                yield what, value
        for one in manifest.forms:
            if one.tested.top1 is not None:
                yield f"test images, {one.format}", one.tested.top1
    elif name == "size_bytes":
        for one in manifest.forms:
            size, whole = (float(one.described[key]) for key in ("size_bytes", "file_bytes"))
            yield one.format, size
            if whole != size and not is_source(one):
                yield f"all of {one.main_file}", whole
    elif known.get(name) is not None:
        yield "on the device", float(known[name] or 0.0)
