"""How a cost grows with the number of things that it is paid for, and what it is made of."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

_COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", GREY)
_DPI = 130


@dataclass(frozen=True)
class Growth:
    """Seconds (n,) of the 1st to the n-th, and the means of the pieces that they are made of, in seconds."""

    seconds: NDArray[np.float64]
    pieces: Mapping[str, float]


def growth_figure(grown: Mapping[str, Growth]) -> bytes:
    """A PNG: seconds in all against how many, with a line through them, and beside it the pieces of each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    growth, made_of = figure.subplots(1, 2, width_ratios=(3, 2))
    for (name, one), colour in zip(grown.items(), _COLOURS, strict=False):
        count, total = np.arange(1, len(one.seconds) + 1), one.seconds.cumsum()
        growth.plot(count, total, "o", color=colour, markersize=5, label=name)
        if len(count) > 1:
            growth.plot(count, np.polyval(np.polyfit(count, total, 1), count), color=colour, alpha=0.5)
    bottom = np.zeros(len(grown))
    pieces = dict.fromkeys(piece for one in grown.values() for piece in one.pieces)
    for piece, colour in zip(pieces, _COLOURS, strict=False):
        height = np.array([one.pieces.get(piece, 0.0) for one in grown.values()])
        made_of.bar(list(grown), height, 0.6, bottom, color=colour, label=piece)
        bottom += height
    growth.set(xlabel="how many", ylabel="seconds in all", ylim=(0, None))
    growth.xaxis.get_major_locator().set_params(integer=True)
    made_of.set_ylabel("seconds for each")
    for panel in (growth, made_of):
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK)
        panel.set_axisbelow(True)
        panel.grid(axis="y", color=GREY, alpha=0.25)
        panel.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
