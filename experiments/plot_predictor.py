"""How good a predictor is, as a picture: predicted against measured accuracy of pairs that it has not seen."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import BLUE, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bitfront.predictors.fitting import Judgement

PNG_NAME = "predictor.png"
_ORANGE = "#d55e00"
_DPI = 160
_FEW, _MANY = 50, 1000
_PERCENT = 100
_RARE = 0.02
_TITLE_WIDTH = 45
_MARK = 34


@dataclass(frozen=True)
class PredictorPicture:
    """What is drawn: ``measured``, ``mean`` and ``half_width``, fractions (n,) each, of held-out pairs.

    ``metrics`` are those of `metrics.judged`; ``title`` names the predictor.
    """

    title: str
    measured: NDArray[np.float64]
    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]
    metrics: Mapping[str, float]


def predictor_figure_png(picture: PredictorPicture) -> bytes:
    """PNG of 1120 by 1120 pixels: a mark and an interval for each pair, those that miss in another colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw_pairs(axes, picture)
    _frame(axes, picture)
    title = textwrap.fill(picture.title, _TITLE_WIDTH)
    axes.set_title(title, fontsize=14, fontweight="bold", color=INK, pad=26, parse_math=False)
    axes.text(0.5, 1.02, _subtitle(picture.metrics), transform=axes.transAxes, ha="center", fontsize=11, color=INK)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a title may hold any character
        figure.savefig(file, format="png")
    return file.getvalue()


def _subtitle(metrics: Mapping[str, float]) -> str:
    from bitfront.predictors.predictor import COVERAGE

    return (
        f"{metrics['held_out']:.0f} held-out pairs: Kendall tau {metrics['kendall_tau']:.2f}, "
        f"{COVERAGE:.0%} intervals hold {metrics['interval_coverage']:.0%}"
    )


def _draw_pairs(axes: Axes, picture: PredictorPicture) -> None:
    n = len(picture.measured)
    bars = _bars(picture)
    # Where pairs are many, their intervals would cover each other and everything else.
    crowd = np.clip(np.log(n / _FEW) / np.log(_MANY / _FEW), 0, 1)
    holds = np.abs(picture.mean - picture.measured) <= picture.half_width
    for inside, colour, label in ((True, BLUE, "interval holds"), (False, _ORANGE, "interval misses")):
        rows = np.flatnonzero(holds == inside)
        if not len(rows):
            continue
        x, y = (_PERCENT * values[rows] for values in (picture.measured, picture.mean))
        axes.errorbar(
            x, y, yerr=_PERCENT * bars[:, rows], fmt="none", ecolor=colour,
            elinewidth=1.2 - 0.6 * crowd, alpha=0.45 - 0.33 * crowd, zorder=2 if inside else 3,
        )  # fmt: skip
        axes.scatter(
            x, y, s=_MARK - 26 * crowd, color=colour, edgecolors="white", linewidths=0.5 * (1 - crowd),
            alpha=1 - 0.3 * crowd, zorder=4 if inside else 5, label=f"{label} ({len(rows)})",
        )  # fmt: skip


def _bars(picture: PredictorPicture) -> NDArray[np.float64]:
    """Lengths below and above each mark, (2, n): no accuracy is outside 0 to 1, so no interval is drawn there."""
    low = np.clip(picture.mean, 0, picture.half_width)
    high = np.clip(1 - picture.mean, 0, picture.half_width)
    return np.stack([low, high])


def _frame(axes: Axes, picture: PredictorPicture) -> None:
    """The same range on both axes, so that the diagonal is where predictions are right."""
    from matplotlib.collections import PathCollection

    # Every mark is in, and nearly all intervals: a few wide ones would press the rest together.
    below, above = _bars(picture)
    low = min(picture.measured.min(), picture.mean.min(), np.quantile(picture.mean - below, _RARE))
    high = max(picture.measured.max(), picture.mean.max(), np.quantile(picture.mean + above, 1 - _RARE))
    margin = 0.04 * max(high - low, 0.001)
    limits = (_PERCENT * (low - margin), _PERCENT * (high + margin))
    axes.plot(limits, limits, color=INK, linewidth=1, linestyle="--", zorder=6, label="predicted as measured")
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.set_xlabel("measured accuracy, %", fontsize=12)
    axes.set_ylabel("predicted accuracy, %", fontsize=12)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK)
    legend = axes.legend(loc="upper left", framealpha=0.85, edgecolor="none")
    for marks in legend.findobj(PathCollection):
        marks.set_sizes([_MARK])


def write_predictor_plot(path: Path, title: str, judgement: Judgement) -> None:
    """Draw what `fitting.judge` found into a file.

    Raises:
        StorageError: it can not be written.
    """
    from bitfront.supernet.files import write_bytes

    held_out, said = judgement.held_out, judgement.prediction
    picture = PredictorPicture(title, held_out.accuracy, said.mean, said.half_width, judgement.metrics)
    write_bytes(path, predictor_figure_png(picture))
