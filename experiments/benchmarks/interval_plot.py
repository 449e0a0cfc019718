"""Means with intervals, one line a method, one panel a case."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

_COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", GREY)
_MARKERS = "osD^v"
_DPI = 130

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Means ``y`` (n,) at ``x`` (n,), each known to within ``half`` (n,)."""

    x: Floats
    y: Floats
    half: Floats


def intervals_figure(panels: Mapping[str, Mapping[str, Line]], x_label: str, y_label: str) -> bytes:
    """A PNG with a panel for each title, and in it a line for each method; x is logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(panels), 4.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for (name, line), colour, marker in zip(lines.items(), _COLOURS, _MARKERS, strict=False):
            panel.errorbar(
                line.x, line.y, line.half, color=colour, marker=marker, markersize=5, capsize=3, label=name
            )
        dress(panel, title, x_label, y_label)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def dress(panel: Any, title: str, x_label: str, y_label: str) -> None:
    """Labels, legend and grid of matplotlib axes whose x is logarithmic, with plain numbers along it."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set(xscale="log", xlabel=x_label, ylabel=y_label)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_title(title, color=INK, fontsize=12)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color=GREY, alpha=0.25)
    panel.legend(frameon=False)
