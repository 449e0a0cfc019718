"""Square matrices of devices by devices, as colours with their numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.plot_png import INK

_DPI = 130
_DARK = 0.6  # beyond it numbers are white


@dataclass(frozen=True)
class Matrix:
    """Numbers (n, n), of which each is told and coloured.

    Attributes:
        values: NaN where nothing is known.
        half: half of the interval of each, in the same unit; NaN where it is not known.
        middle: what is white.
        least_reach: how far from it a value is that has the darkest colour, or more where values are further away:
            what is next to nothing is to look so.
        form: as in ``"{:+.2f}"``.
    """

    values: NDArray[np.float64]
    half: NDArray[np.float64]
    middle: float
    least_reach: float
    form: str

    @property
    def away(self) -> NDArray[np.float64]:
        """How far values are from the middle, in shares of what is darkest: -1 to 1, or NaN."""
        away = self.values - self.middle
        return away / max(self.least_reach, float(np.nanmax(np.abs(away), initial=0.0)))

    def text(self, row: int, column: int) -> str:
        """A value, and on a line below it half of its interval, where that is known."""
        value, half = self.values[row, column], self.half[row, column]
        if not np.isfinite(value):
            return "\N{EN DASH}"
        below = f"\n\N{PLUS-MINUS SIGN} {self.form.replace('+', '').format(half)}" if np.isfinite(half) else ""
        return self.form.format(value) + below


def matrices_figure(panels: Mapping[str, Matrix], names: Sequence[str], rows: str, columns: str) -> bytes:
    """A PNG with a panel for each title; ``rows`` and ``columns`` say what ``names`` are there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(panels), 5.0), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (title, matrix) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        panel.imshow(matrix.away, cmap="RdBu_r", vmin=-1, vmax=1)
        for (row, column), away in np.ndenumerate(matrix.away):
            colour = "white" if abs(away) > _DARK else INK
            panel.text(column, row, matrix.text(row, column), ha="center", va="center", color=colour)
        panel.set_xticks(range(len(names)), names, rotation=30, ha="right")
        panel.set_yticks(range(len(names)), names)
        panel.set(xlabel=columns, ylabel=rows)
        panel.set_title(title, color=INK, fontsize=12)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
