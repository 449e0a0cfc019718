"""Candidates per second over the size of a batch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from bitfront.experiments.plot_png import BLUE, GREY, INK

_DPI = 140
_COLOURS = (BLUE, "#d55e00", "#009e73")


@dataclass(frozen=True)
class Curve:
    """Candidates per second, one for each size of a batch."""

    title: str
    batches: Sequence[int]
    per_second: Sequence[float]


def speed_figure(curves: Sequence[Curve]) -> bytes:
    """A PNG; both axes are logarithmic, and every curve bears its name at its end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for curve, colour in zip(curves, _COLOURS, strict=False):
        panel.plot(curve.batches, curve.per_second, marker="o", color=colour)
        end = (curve.batches[-1], curve.per_second[-1])
        panel.annotate(
            curve.title, end, (9, 0), textcoords="offset points", color=colour, va="center", fontsize=10
        )
    panel.set(xscale="log", yscale="log", xlabel="candidates in a batch", ylabel="candidates per second, one core")
    panel.set_xlim(right=max(curve.batches[-1] for curve in curves) * 6)
    panel.set_title("Costing candidates: six costs, borders included", color=INK, fontsize=12)
    panel.grid(color=GREY, alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
