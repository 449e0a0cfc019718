"""The front as a picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitfront.experiments.plot_points import FrontPicture, Points, points_of, staircase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, BLUE = "#222222", "#8a8a8a", "#0072b2"
_PALETTE = "cividis"
_DPI = 160


def front_figure_png(picture: FrontPicture) -> bytes:
    """The picture as PNG, 2080 by 1040 pixels: the front, and the hypervolume over generations."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = points_of(picture)
    figure = Figure(figsize=(13, 6.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    front, growth = figure.subplots(1, 2, width_ratios=[2.4, 1])
    figure.suptitle(picture.heading, fontsize=15, fontweight="bold", color=INK, parse_math=False)
    _draw_front(figure, front, points)
    _draw_growth(growth, picture)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a title may hold any character
        figure.savefig(file, format="png")
    return file.getvalue()


def _draw_front(figure: Figure, axes: Axes, points: Points) -> None:
    seen = points.is_measured
    for start, end in np.stack([points.predicted, points.measured], axis=1)[seen]:
        axes.plot(*zip(start, end, strict=True), color=GREY, linewidth=0.8, zorder=1)
    x, y = points.predicted.T
    axes.scatter(x, y, marker="x", s=26, color=GREY, linewidths=1.2, zorder=2, label="predicted")
    corners = staircase(points)
    if len(corners):
        x, y = corners.T
        axes.step(x, y, where="post", color=BLUE, linewidth=1.2, linestyle=":", zorder=1, label=points.best_label)
    _draw_marks(figure, axes, points)
    if points.log_ticks:
        _spread(axes, points.log_ticks)
    _dress(axes, points.x.label, points.y.label)
    axes.legend(loc="lower right", framealpha=0.85, edgecolor="none")


def _draw_marks(figure: Figure, axes: Axes, points: Points) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(), colormaps[_PALETTE])
    scale.set_array(points.shades)
    scale.autoscale()
    colours = (
        scale.to_rgba(points.shades)
        if points.shade
        else np.tile([0.0, 0.447, 0.698, 1.0], (len(points.shades), 1))
    )
    for label, hollow in (("measured", False), ("measured, but dominated", True)):
        chosen = points.is_measured & (points.dominated == hollow)
        if chosen.any():
            x, y = points.measured[chosen].T
            axes.scatter(
                x,
                y,
                s=points.diameters[chosen] ** 2,
                facecolors="white" if hollow else colours[chosen],
                edgecolors=colours[chosen] if hollow else INK,
                linewidths=1.8 if hollow else 0.8,
                zorder=3 if hollow else 4,
                label=label,
            )
    if points.shade:
        figure.colorbar(scale, ax=axes, label=points.shade.label, pad=0.015, aspect=32)


def _spread(axes: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic x axis with plain numbers."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    limits = axes.get_xlim()  # ticks that lie outside would widen the axis
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(limits)


def _draw_growth(axes: Axes, picture: FrontPicture) -> None:
    from matplotlib.ticker import MaxNLocator

    generations = np.arange(1, len(picture.hypervolumes) + 1)
    axes.plot(
        generations, picture.hypervolumes, color=BLUE, linewidth=2, marker="." if len(generations) < 2 else ""
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _dress(axes, picture.step.capitalize(), "Hypervolume")


def _dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=12)
    axes.set_ylabel(y, fontsize=12)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK)
