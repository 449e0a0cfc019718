"""Means with intervals, one line a method, one panel a case."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

_COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", GREY)
_MARKERS = "osD^v"
_DPI = 130

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Means ``y`` (n,) at ``x`` (n,); a line that goes through NaN is broken there.

    ``half`` (n,) is half of the interval of each, 0 or NaN where there is none; None where there are none at all.
    """

    x: Floats
    y: Floats
    half: Floats | None = None

    @classmethod
    def broken(cls, parts: Sequence[tuple[Floats, Floats]]) -> Self:
        """One without intervals, in parts that are not joined, each of means at places."""
        gaps = [np.append(np.stack(part), [[np.nan], [np.nan]], axis=1) for part in parts]
        x, y = np.concatenate(gaps, axis=1)[:, :-1]
        return cls(x, y)

    @property
    def bars(self) -> Floats | None:
        """What is drawn of the intervals: NaN where there is none, None where none is."""
        if self.half is None:
            return None
        known = self.half > 0
        return np.where(known, self.half, np.nan) if known.any() else None


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
                line.x, line.y, line.bars, color=colour, marker=marker, markersize=5, capsize=3, label=name
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
