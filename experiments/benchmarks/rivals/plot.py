"""Measured accuracy against measured latency: the front of every method as a line, and pale what is not on it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from bitfront.experiments.benchmarks.interval_plot import dress
from bitfront.experiments.benchmarks.rivals.compared import LATENCY, Measured
from bitfront.experiments.benchmarks.rivals.names import NAMES, OURS
from bitfront.experiments.plot_png import BLUE, GREY

_COLOURS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", GREY)
_MARKERS = "sD^vP*X"
_DPI = 130
_PALE = 0.45
_PALE_WORDS = "pale: beaten by another of its method\non the validation split"


def rivals_figure(methods: Mapping[str, Measured]) -> bytes:
    """A PNG; latency is logarithmic, and `OURS` stands out. A front is what the validation split makes it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    styles = iter(zip(_COLOURS, _MARKERS, strict=True))
    for name, measured in methods.items():
        colour, marker = (BLUE, "o") if name == OURS else next(styles)
        is_ours, front = name == OURS, measured.front
        order = np.argsort(front.costs[LATENCY])
        panel.scatter(measured.latency_ms, 100 * measured.test, color=colour, marker=marker, s=22, alpha=_PALE)
        panel.plot(
            front.costs[LATENCY][order], 100 * front.test[order], color=colour, marker=marker, markersize=5,
            linewidth=2.4 if is_ours else 1.2, zorder=3 if is_ours else 2, label=NAMES[name],
        )  # fmt: skip
    panel.scatter([], [], color=GREY, marker="o", s=22, alpha=_PALE, label=_PALE_WORDS)
    dress(panel, "exported models in one runtime, first seed", "measured latency, ms", "measured test accuracy, %")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
