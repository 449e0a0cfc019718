"""Where learning curves end, and what chosen samples are worth."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import GREY, INK
from bitfront.predictors.collection import Collected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 140
_COLOURS = ("#0072b2", "#d55e00")
_MARKERS = "os"
_TICKS = (10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Panel:
    """One data set, a value per seed.

    Attributes:
        title: its name.
        fp32: collected until there were enough. quantized: likewise.
        budgets: fp32 and quantized samples that there are in all.
        chosen: of each way to choose samples, held-out pairwise accuracy (seeds,).
    """

    title: str
    fp32: Sequence[Collected]
    quantized: Sequence[Collected]
    budgets: tuple[int, int]
    chosen: Mapping[str, NDArray[np.float64]]


def sampling_figure(panels: Sequence[Panel]) -> bytes:
    """A PNG with a row per data set: learning curves with where they stopped, and ways to choose."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2 * len(panels)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(2, 1))
    for (curves, chosen), panel in zip(rows, panels, strict=True):
        _draw_curves(curves, panel)
        _draw_chosen(chosen, panel)
        for axes in (curves, chosen):
            axes.grid(color=GREY, alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _draw_curves(axes: Axes, panel: Panel) -> None:
    kinds = (("fp32", panel.fp32), ("quantized", panel.quantized))
    for (kind, parts), colour, marker, budget in zip(kinds, _COLOURS, _MARKERS, panel.budgets, strict=True):
        for seed, part in enumerate(parts):
            points = sorted(part.curves[-1].points, key=lambda point: point.n)
            n, accuracy = zip(*((point.n, point.accuracy) for point in points), strict=True)
            label = f"{kind}, of {budget}" if seed == 0 else None
            axes.plot(n, accuracy, color=colour, lw=0.9, alpha=0.6, label=label)
            if part.verdict is not None and part.verdict.stop:
                axes.plot(n[-1], accuracy[-1], color=colour, marker=marker, ms=6)
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, list(map(str, _TICKS)))
    axes.minorticks_off()
    axes.set_xlabel("samples; a mark is where they were enough")
    axes.set_ylabel("pairwise accuracy of what decides")
    axes.set_title(f"{panel.title}: learning curves", color=INK, fontsize=11)
    axes.legend(frameon=False, fontsize=9)


def _draw_chosen(axes: Axes, panel: Panel) -> None:
    for place, values in enumerate(panel.chosen.values()):
        axes.plot(np.full(len(values), place), values, "o", color=_COLOURS[0], alpha=0.5)
        axes.plot([place - 0.2, place + 0.2], [values.mean()] * 2, color=INK, lw=1.6)
    axes.set_xticks(range(len(panel.chosen)), list(panel.chosen))
    axes.set_ylabel("pairwise accuracy, held out")
    axes.set_title("as many samples, chosen", color=INK, fontsize=11)
