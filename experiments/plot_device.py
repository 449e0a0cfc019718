"""A device as a picture: small multiples of what blocks cost by kernel, width and number formats."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bitfront.experiments.device_picture import UNITS, DevicePicture, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, GRID = "#222222", "#8a8a8a", "#e6e6e6"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""For all eyes (Okabe and Ito)."""
MARKERS = ("o", "s", "^", "D", "v")

_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), "dashdot", (0, (3, 1, 1, 1, 1, 1)))
_DPI = 130
_PANEL = (4.4, 3.3)
_MOST_COLUMNS = 4
_MOST_TICKS = 8
_MOST_MARKS = 14
_MOST_WIDE = 3
_MOST_LETTERS = 80


def device_figure_png(picture: DevicePicture) -> bytes:
    """The picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns_of(len(picture.panels))
    rows = -(-len(picture.panels) // columns)
    size = (max(2, columns) * _PANEL[0], rows * _PANEL[1] + 1.5)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(picture.heading, fontsize=14, fontweight="bold", color=INK, parse_math=False)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, picture.panels, strict=False):
        _draw(axes, panel, picture)
    for axes in grid[: len(picture.panels) : columns]:
        axes.set_ylabel(UNITS[picture.cost], fontsize=11, color=INK)
    for axes in grid[: len(picture.panels)][-columns:]:
        axes.set_xlabel("Width (hidden channels)", fontsize=11, color=INK)
    for axes in grid[len(picture.panels) :]:
        axes.set_visible(False)
    colours, looks = _colours(picture), _looks(picture)
    style: dict[str, Any] = {"frameon": False, "fontsize": 11, "handlelength": 2.5}
    figure.legend(handles=colours, loc="outside lower left", ncols=_columns(colours), **style)
    figure.legend(handles=looks, loc="outside lower right", ncols=_columns(looks), **style)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def columns_of(panels: int) -> int:
    """Columns of a grid that is about square, and no wider than a page."""
    return next(n for n in range(1, _MOST_COLUMNS + 1) if n * n >= panels or n == _MOST_COLUMNS)


def _draw(axes: Axes, panel: Panel, picture: DevicePicture) -> None:
    from matplotlib.ticker import MaxNLocator

    for line in panel.lines:
        look, colour = picture.kernels.index(line.kernel), picture.formats.index(line.formats)
        axes.plot(
            line.widths,
            line.costs,
            color=PALETTE[colour % len(PALETTE)],
            linestyle=_DASHES[look % len(_DASHES)],
            marker=MARKERS[look % len(MARKERS)],
            markersize=4.5,
            markevery=-(-len(line.widths) // _MOST_MARKS),
            linewidth=_line_width(picture, colour),
        )
    axes.set_title(panel.title, fontsize=11.5, fontweight="bold", color=INK, loc="left", pad=18)
    axes.annotate(
        panel.shape, (0, 1), (0, 4), "axes fraction", textcoords="offset points", fontsize=9.5, color="#555555"
    )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.04)
    widths = sorted({width for line in panel.lines for width in line.widths})
    if len(widths) <= _MOST_TICKS:
        axes.set_xticks(widths)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9.5)


def _line_width(picture: DevicePicture, colour: int) -> float:
    """What is drawn first is wider, so that equal lines are all seen; many lines are thin."""
    above = len(picture.formats) - 1 - colour
    return 1.4 + 0.9 * above if len(picture.formats) <= _MOST_WIDE else 1.5


def _columns(handles: list[Any]) -> int:
    """One line of a legend, or two where its names are long."""
    letters = sum(len(handle.get_label()) for handle in handles)
    return len(handles) if letters <= _MOST_LETTERS else -(-len(handles) // 2)


def _colours(picture: DevicePicture) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], linewidth=4, label=name)
        for i, name in enumerate(picture.formats)
    ]


def _looks(picture: DevicePicture) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=GREY,
            linestyle=_DASHES[i % len(_DASHES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            label=f"kernel {kernel}",
        )
        for i, kernel in enumerate(picture.kernels)
    ]
