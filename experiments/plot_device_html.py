"""A device as an interactive page: the same small multiples as in the PNG, with numbers under the pointer."""

from __future__ import annotations

import html
from typing import Any

from bitfront.experiments.device_picture import UNITS, DevicePicture, Line
from bitfront.experiments.plot_device import INK, PALETTE, columns_of
from bitfront.experiments.plot_html import whole_page

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_MARKERS = ("circle", "square", "triangle-up", "diamond", "triangle-down")
_ROW_PIXELS, _HEAD_PIXELS = 340, 170


def device_figure_html(picture: DevicePicture) -> str:
    """The page as one HTML text that needs nothing from anywhere else. A legend's entry hides what it names."""
    rows = -(-len(picture.panels) // columns_of(len(picture.panels)))
    return whole_page(_figure(picture, rows), picture.heading, "device", f"{rows * _ROW_PIXELS + _HEAD_PIXELS}px")


def _figure(picture: DevicePicture, rows: int) -> Any:
    from plotly.subplots import make_subplots

    columns = columns_of(len(picture.panels))
    titles = [f"<b>{html.escape(panel.title)}</b><br>{html.escape(panel.shape)}" for panel in picture.panels]
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.3 / max(2, rows))
    named: set[tuple[str, int]] = set()
    for place, panel in enumerate(picture.panels):
        row, column = place // columns + 1, place % columns + 1
        for line in panel.lines:
            look = (line.formats, line.kernel)
            figure.add_trace(_trace(picture, line, first=look not in named), row=row, col=column)
            named.add(look)
        figure.update_xaxes(title_text="Width (hidden channels)", row=row, col=column)
        figure.update_yaxes(title_text=UNITS[picture.cost], rangemode="tozero", row=row, col=column)
    figure.update_layout(
        title={"text": f"<b>{html.escape(picture.heading)}</b>", "x": 0.01, "xanchor": "left"},
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"groupclick": "toggleitem"},
        margin={"l": 80, "r": 30, "t": 110, "b": 60},
    )
    return figure


def _trace(picture: DevicePicture, line: Line, first: bool) -> Any:
    from plotly.graph_objects import Scatter

    kernel = picture.kernels.index(line.kernel)
    name = f"{line.formats}, kernel {line.kernel}"
    return Scatter(
        x=list(line.widths),
        y=list(line.costs),
        mode="lines+markers",
        line={
            "color": PALETTE[picture.formats.index(line.formats) % len(PALETTE)],
            "dash": _DASHES[kernel % len(_DASHES)],
            "width": 2,
        },
        marker={"symbol": _MARKERS[kernel % len(_MARKERS)], "size": 7},
        name=html.escape(name),
        legendgroup=name,
        showlegend=first,
        hovertemplate=f"{html.escape(name)}<br>width %{{x}}: <b>%{{y:.4g}}</b><extra></extra>",
    )
