"""What an epoch did, as values and as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bitfront.supernet.files import write_text


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch. Times are left out when reports are compared.

    Attributes:
        epoch: how many epochs are done, this one included.
        epochs: of the whole training.
        phase: the phase's name.
        loss: mean over steps of the mean over the step's networks.
        learning_rate: of the last step.
        top1_min: accuracy of the least accurate network looked at, on a part of the validation split: 0 to 1.
        top1_median: of the middle one.
        top1_max: of the most accurate one.
        seconds: of the epoch, looking at networks included.
        images_per_second: through a whole step, with all its networks.
    """

    epoch: int
    epochs: int
    phase: str
    loss: float
    learning_rate: float
    top1_min: float
    top1_median: float
    top1_max: float
    seconds: float = field(compare=False)
    images_per_second: float = field(compare=False)


Listener = Callable[[EpochReport], None]
"""Told of an epoch when it is done."""


def line_of(report: EpochReport) -> str:
    """The report on one line, for people."""
    top1 = " ".join(f"{100 * value:.2f}" for value in (report.top1_min, report.top1_median, report.top1_max))
    return (
        f"epoch {report.epoch}/{report.epochs} {report.phase}: loss {report.loss:.4f}, rate "
        f"{report.learning_rate:.2e}, top-1 min/median/max {top1} %, {report.images_per_second:.0f} images/s, "
        f"{report.seconds:.0f} s"
    )


def write_history(path: Path, reports: Iterable[EpochReport]) -> None:
    """One line of JSON per epoch; the file is replaced as a whole.

    Raises:
        StorageError: it can not be written.
    """
    write_text(path, "".join(json.dumps(asdict(report), allow_nan=False) + "\n" for report in reports))
