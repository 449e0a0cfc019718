"""Candidates per second of predictors, side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from bitfront.experiments.plot_png import BLUE, GREY, INK

_DPI = 140
_COLOURS = (GREY, BLUE, "#d55e00", "#e69f00")


def speed_bars(per_second: Mapping[str, Mapping[str, float]]) -> bytes:
    """A PNG; ``per_second`` has, for each space, what each way answers in a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8 + 2.2 * len(per_second), 4.2), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ways = list(next(iter(per_second.values())))
    places, width = np.arange(len(per_second)), 0.8 / len(ways)
    for i, (way, colour) in enumerate(zip(ways, _COLOURS, strict=False)):
        speeds = [1e-3 * of_space[way] for of_space in per_second.values()]
        left = places + (i - (len(ways) - 1) / 2) * width
        bars = axes.bar(left, speeds, 0.92 * width, color=colour, label=way.replace("_", " "))
        axes.bar_label(bars, fmt="%.0f", fontsize=8, color=INK)
    axes.set_xticks(places, list(per_second))
    axes.set_ylabel("thousand candidates per second, one core")
    axes.set_title("Asking a transferred predictor, 1,000 at a time", color=INK, fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
