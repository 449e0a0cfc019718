"""How good predictors are over how many samples they had."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import half_interval
from bitfront.experiments.plot_png import GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 140
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"


@dataclass(frozen=True)
class Panel:
    """One data set: of each method, its scores (seeds, sizes)."""

    title: str
    sizes: Sequence[int]
    scores: Mapping[str, NDArray[np.float64]]


def samples_figure(panels: Sequence[Panel], metric: str, heading: str, samples: str = "samples") -> bytes:
    """A PNG with one panel per data set: mean over seeds with its 95 % interval, sizes on a logarithmic axis.

    ``samples`` says what is counted below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * len(panels), 4.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(heading, fontsize=13, color=INK)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, panel)
        axes.set_ylabel(metric)
        axes.set_xlabel(samples)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _draw(axes: Axes, panel: Panel) -> None:
    for (name, scores), colour, marker in zip(panel.scores.items(), _COLOURS, _MARKERS, strict=False):
        intervals = [half_interval(of_size) for of_size in scores.T]
        axes.errorbar(
            panel.sizes, scores.mean(axis=0), intervals, label=name, color=colour, marker=marker, capsize=3, lw=1.4
        )
    axes.set_xscale("log")
    axes.set_xticks(panel.sizes, [str(size) for size in panel.sizes])
    axes.minorticks_off()
    axes.set_title(panel.title, color=INK, fontsize=11)
    axes.grid(color=GREY, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
