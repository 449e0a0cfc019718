"""Predicted against measured latency of whole networks, one panel a case."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

_ACROSS = 3
_DPI = 130


@dataclass(frozen=True)
class Scatter:
    """Latencies in ms, shape (n,), with the scores that stand above them.

    ``truth_tau``: Kendall's tau of the measurement with itself, where it was taken twice.
    """

    title: str
    predicted: NDArray[np.float64]
    measured: NDArray[np.float64]
    mape: float
    tau: float
    truth_tau: float | None = None


def fidelity_figure(scatters: Sequence[Scatter]) -> bytes:
    """A PNG with one panel per scatter; the line is where both agree."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(scatters))
    down = -(-len(scatters) // across)
    figure = Figure(figsize=(4.3 * across, 4.2 * down), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, scatter in zip(panels, scatters, strict=False):
        both = np.concatenate([scatter.predicted, scatter.measured])
        ends = (both.min() * 0.95, both.max() * 1.05)
        panel.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
        panel.scatter(scatter.measured, scatter.predicted, s=18, color=BLUE, alpha=0.8, zorder=2)
        panel.set(xlim=ends, ylim=ends, aspect="equal", xlabel="measured ms", ylabel="predicted ms")
        panel.set_title(_title(scatter), fontsize=10, color=INK)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(scatters) :]:
        panel.set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _title(scatter: Scatter) -> str:
    itself = "" if scatter.truth_tau is None else f" (truth with itself {scatter.truth_tau:.3f})"
    scored = f"MAPE {scatter.mape:.1%}, Kendall tau {scatter.tau:.3f}"
    return f"{scatter.title.replace('_', ' ')}\n{scored}{itself}"
