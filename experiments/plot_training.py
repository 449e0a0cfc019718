"""The course of a training as a picture."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfront.experiments.plot_png import BLUE, GREY, INK
from bitfront.supernet.training.report import EpochReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 130
_NARROW = 0.1


def training_png(reports: Sequence[EpochReport]) -> bytes:
    """PNG of 1300 by 780 pixels: loss and rate above, accuracy of the subnets looked at below, phases marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_course(above, reports)
    _draw_accuracy(below, reports)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlim(0.5, max(len(reports), 1) + 0.5)
    for axes in (above, below):
        _mark_phases(axes, reports, named=axes is above)
        axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _phases(reports: Sequence[EpochReport]) -> list[list[EpochReport]]:
    return [list(group) for _, group in itertools.groupby(reports, key=lambda report: report.phase)]


def _draw_course(axes: Axes, reports: Sequence[EpochReport]) -> None:
    """Each phase's by itself: its loss is of other networks and answers, and its rate starts anew."""
    rates = axes.twinx()
    for group in _phases(reports):
        epochs = [report.epoch for report in group]
        axes.plot(epochs, [report.loss for report in group], color=BLUE, marker=".")
        rates.plot(
            epochs, [report.learning_rate for report in group], color=GREY, linestyle=":", marker=".", markersize=3
        )
    axes.set_ylabel("mean loss of a step's networks")
    rates.set_ylabel("learning rate at the epoch's end", color=GREY)
    rates.tick_params(axis="y", colors=GREY)
    rates.set_ylim(bottom=0)
    rates.spines["top"].set_visible(False)


def _draw_accuracy(axes: Axes, reports: Sequence[EpochReport]) -> None:
    epochs = [report.epoch for report in reports]
    low, middle, high = (
        [100 * getattr(report, name) for report in reports] for name in ("top1_min", "top1_median", "top1_max")
    )
    axes.fill_between(epochs, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(epochs, high, color=BLUE, label=_labelled("most accurate", high))
    axes.plot(epochs, middle, color=INK, marker=".", label=_labelled("median", middle))
    axes.plot(epochs, low, color=BLUE, linestyle="--", label=_labelled("least accurate", low))
    axes.set_ylabel("top-1 of subnets looked at, %")
    axes.set_xlabel("epoch")
    axes.legend(loc="lower right", frameon=False)


def _labelled(name: str, values: Sequence[float]) -> str:
    return f"{name}, {values[-1]:.1f} % in the end" if values else name


def _mark_phases(axes: Axes, reports: Sequence[EpochReport], named: bool) -> None:
    row, narrow = 0, False
    for group in _phases(reports):
        first, row = group[0].epoch, 1 - row if narrow else 0  # beside a narrow phase the name goes higher
        narrow = len(group) < _NARROW * len(reports)
        if first > reports[0].epoch:
            axes.axvline(first - 0.5, color=GREY, linewidth=0.8)
        if named:
            axes.annotate(
                group[0].phase, (first - 0.5, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4 + 11 * row),
                textcoords="offset points", color=GREY, fontsize=9,
            )  # fmt: skip
