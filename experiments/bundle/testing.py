"""Forms run by themselves: on the whole test split, or on a part of it where that would take too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.bundle.forms import Form, run_form
from bitfront.experiments.bundle.manifest import Tested
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.resize import resize
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.progress import Progress, silent

_SECONDS = 180.0
_LEAST_IMAGES = 64
_TRIED = 8
_BATCH = 1000
_BATCH_BYTES = 64 << 20

Classes = NDArray[np.int64]
Rows = NDArray[np.intp]
ImagesOf = Callable[[Rows], NDArray[np.float32]]
Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Classes (n,) that a form names for the images at ``rows`` (n,) of a split of ``total`` images.

    ``why``: where n is less than ``total``, why; a form that can not run here has no answers.
    """

    rows: Rows
    classes: Classes
    total: int
    why: str = ""

    @property
    def are_all(self) -> bool:
        """Whether the form is quick enough to be run on the whole split."""
        return len(self.rows) == self.total

    def tested(self, labels: Classes, fake_quant: Classes) -> Tested:
        """For a manifest: ``labels`` and what the network itself names, both (total,)."""
        rows, ran = self.rows, len(self.rows) > 0
        return Tested(
            images=len(rows),
            images_of_split=self.total,
            top1=float(np.mean(self.classes == labels[rows])) if ran else None,
            agreement=float(np.mean(self.classes == fake_quant[rows])) if ran else None,
            why=self.why,
        )

    def confusion(self, labels: Classes, classes: int) -> Classes:
        """How many images of each class (row) got each answer (column); ``labels`` are the split's (total,)."""
        found = np.bincount(labels[self.rows] * classes + self.classes, minlength=classes * classes)
        return found.reshape(classes, classes).astype(np.int64)


def fed_images(dataset: Dataset, split: str, resolution: int) -> ImagesOf:
    """Images of a split as networks take them, by their places in it."""
    images = dataset.split(split).images

    def fed(rows: Rows) -> NDArray[np.float32]:
        made: NDArray[np.float32] = resize(dataset.tensor(np.ascontiguousarray(images[rows])), resolution).numpy()
        return made

    return fed


def spread_rows(total: int, count: int) -> Rows:
    """``count`` places out of ``total``, or all if there are fewer, as far apart as can be."""
    count = min(count, total)
    return np.arange(count, dtype=np.intp) * total // count


def answers_of(form: Form, images: ImagesOf, total: int, progress: Progress = silent) -> Answers:
    """Run a form on a split; how many images are run where all would take minutes depends on this machine.

    Raises:
        CorruptFileError: as `ExportTarget.logits`.
    """

    def logits(fed: NDArray[np.float32]) -> NDArray[np.float32]:
        return run_form(form.target, form.files, fed)

    try:
        count, why = _affordable(logits, images, total)
        rows = spread_rows(total, count)
        return Answers(rows, classes_of(logits, images, rows, progress), total, why)
    except UnsupportedError as error:
        return Answers(np.zeros(0, np.intp), np.zeros(0, np.int64), total, str(error))


def classes_of(logits: Logits, images: ImagesOf, rows: Rows, progress: Progress = silent) -> Classes:
    """The class (n,) that is named for each image, batch by batch."""
    most = max(1, min(_BATCH, _BATCH_BYTES // images(rows[:1]).nbytes))
    batches, found = even_rows(0, len(rows), most), []
    for number, batch in enumerate(batches):
        found.append(logits(images(rows[batch])).argmax(1))
        progress(number + 1, len(batches))
    return np.concatenate(found)


def _affordable(logits: Logits, images: ImagesOf, total: int) -> tuple[int, str]:
    """(How many images may be run, why not all)."""
    tried = spread_rows(total, 1 + _TRIED)
    logits(images(tried[:1]))  # which may compile something
    first = _seconds(logits, images(tried[:1]))
    each = max(_seconds(logits, images(tried)) - first, 0.0) / _TRIED
    if each * total <= _SECONDS:
        return total, ""
    affordable = min(total, max(_LEAST_IMAGES, int(_SECONDS / each)))
    return affordable, "" if affordable == total else f"it takes about {each:.2g} s an image on this machine"


def _seconds(logits: Logits, images: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    logits(images)
    return time.perf_counter() - started
