"""The picture of a training: its size, and that it is made of any history."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from bitfront.experiments.plot_training import training_png
from bitfront.supernet.training import EpochReport

COURSE = (
    ("warmup", 20),
    ("kernel", 12),
    ("depth-1", 6),
    ("depth-2", 6),
    ("expand-1", 6),
    ("expand-2", 6),
    ("quantized", 18),
)


def history(phases: Sequence[tuple[str, int]]) -> list[EpochReport]:
    """A training as it may go."""
    epochs = sum(n for _, n in phases)
    reports: list[EpochReport] = []
    for phase, n in phases:
        for i in range(n):
            done = len(reports) / max(epochs - 1, 1)
            best = 0.94 - 0.6 * np.exp(-6 * done)
            low = best - 0.3 * np.exp(-5 * done)
            rate = 4e-3 * 0.5 * (1 + np.cos(np.pi * i / n))
            loss = 0.4 + 1.6 * float(np.exp(-5 * done))
            reports.append(
                EpochReport(
                    len(reports) + 1, epochs, phase, loss, float(rate), float(low), float((2 * best + low) / 3),
                    float(best), 12.0, 900.0,
                )
            )  # fmt: skip
    return reports


def pixels(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.convert("RGB")


@pytest.mark.parametrize(
    "phases",
    [COURSE, COURSE[:1], (("warmup", 1),), (("warmup", 1), ("elastic", 1), ("quantized", 1)), ()],
    ids=["progressive", "warm-up alone", "one epoch", "three epochs", "none"],
)
def test_size(phases: Sequence[tuple[str, int]]) -> None:
    image = pixels(training_png(history(phases)))
    assert image.size == (1300, 780)
    assert len(image.getcolors(1 << 20) or ()) > 10


def test_what_was_worse_is_drawn_otherwise() -> None:
    course = history(COURSE)
    assert training_png(course) == training_png(history(COURSE))
    assert training_png(course) != training_png(course[:-1])
