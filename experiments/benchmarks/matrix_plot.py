"""Square matrices of devices by devices, as colours with their numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import INK

_DPI = 130
_DARK = 0.6  # of the range on either side: beyond it numbers are white


@dataclass(frozen=True)
class Matrix:
    """``values`` (n, n), NaN where nothing is known; ``middle`` is white, ``form`` as in ``"{:.2f}"``."""

    values: NDArray[np.float64]
    middle: float
    form: str


def matrices_figure(panels: Mapping[str, Matrix], names: Sequence[str], rows: str, columns: str) -> bytes:
    """A PNG with a panel for each title; ``rows`` and ``columns`` say what ``names`` are there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(panels), 5.0), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (title, matrix) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        away = matrix.values - matrix.middle
        reach = float(np.nanmax(np.abs(away), initial=0.0)) or 1.0
        panel.imshow(away, cmap="RdBu_r", vmin=-reach, vmax=reach)
        for (row, column), value in np.ndenumerate(matrix.values):
            dark = abs(away[row, column]) > _DARK * reach
            text = matrix.form.format(value) if np.isfinite(value) else "\N{EN DASH}"
            panel.text(column, row, text, ha="center", va="center", color="white" if dark else INK)
        panel.set_xticks(range(len(names)), names, rotation=30, ha="right")
        panel.set_yticks(range(len(names)), names)
        panel.set(xlabel=columns, ylabel=rows)
        panel.set_title(title, color=INK, fontsize=12)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
