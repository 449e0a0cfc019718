"""Networks with a supernet's weights against the same networks trained from scratch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

_DPI = 140


def inheritance_figure(inherited: NDArray[np.float64], scratch: NDArray[np.float64]) -> bytes:
    """A PNG; accuracies (n,) as fractions; a network on the line loses nothing by inheriting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    percent = 100 * np.stack([scratch, inherited])
    low, high = percent.min() - 0.5, percent.max() + 0.5
    panel.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":")
    panel.scatter(*percent, color=BLUE, zorder=2)
    panel.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    panel.set_xlabel("trained from scratch, top-1 %")
    panel.set_ylabel("weights of the supernet, top-1 %")
    panel.set_title(f"{len(scratch)} random networks, test split", color=INK, fontsize=12)
    panel.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
