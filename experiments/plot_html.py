"""The front as an interactive page."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitfront.experiments.plot_points import FrontPicture, Points, Row, axis_of, points_of, staircase
from bitfront.search.constraints import METRICS, Floats

INK, GREY, BLUE = "#222222", "#8a8a8a", "#0072b2"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>html, body {{ margin: 0; height: 100%; background: #fff; }}</style>
</head>
<body>
<noscript><p>This page draws with JavaScript; as PNG the picture needs none.</p></noscript>
{body}
</body>
</html>
"""


def front_figure_html(picture: FrontPicture) -> str:
    """The page as one HTML text that needs nothing from anywhere else."""
    return whole_page(_figure(picture), picture.heading, "front", "100vh")


def whole_page(figure: Any, title: str, name: str, height: str) -> str:
    """A Plotly figure as an HTML text that needs nothing from anywhere else; ``height`` as in CSS."""
    from plotly.io import to_html

    body = to_html(
        figure,
        include_plotlyjs=True,
        full_html=False,
        div_id=name,
        default_height=height,
        config={
            "displaylogo": False,
            "responsive": True,
            "modeBarButtonsToRemove": ["sendChartToCloud"],  # nothing leaves the page
            "plotlyServerURL": "",
        },
    )
    return _PAGE.format(title=html.escape(title), body=body)


def _figure(picture: FrontPicture) -> Any:
    from plotly.subplots import make_subplots

    points = points_of(picture)
    figure = make_subplots(rows=2, cols=1, row_heights=[0.74, 0.26], vertical_spacing=0.13)
    for trace in (_links(points), _steps(points), _predicted(picture, points), *_measured(picture, points)):
        figure.add_trace(trace, row=1, col=1)
    figure.add_trace(_growth(picture.hypervolumes, picture.step), row=2, col=1)
    figure.update_xaxes(title_text=points.x.label, **_x_scale(points), row=1, col=1)
    figure.update_yaxes(title_text=points.y.label, row=1, col=1)
    figure.update_xaxes(title_text=picture.step.capitalize(), row=2, col=1)
    figure.update_yaxes(title_text="Hypervolume", row=2, col=1)
    figure.update_layout(
        title={"text": f"<b>{html.escape(picture.heading)}</b>", "x": 0.01, "xanchor": "left"},
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 14, "color": INK},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"size": 13}},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 80, "r": 30, "t": 90, "b": 60},
    )
    return figure


def _x_scale(points: Points) -> dict[str, Any]:
    ticks = points.log_ticks
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]} if ticks else {}


def _links(points: Points) -> Any:
    """Thin lines from predicted to measured, in one trace: None lifts the pen."""
    from plotly.graph_objects import Scatter

    pairs = np.stack([points.predicted, points.measured], axis=1)[points.is_measured]
    return Scatter(
        x=_pen_strokes(pairs[:, :, 0]),
        y=_pen_strokes(pairs[:, :, 1]),
        mode="lines",
        line={"color": GREY, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )


def _steps(points: Points) -> Any:
    from plotly.graph_objects import Scatter

    corners = staircase(points)
    return Scatter(
        x=corners[:, 0].tolist(),
        y=corners[:, 1].tolist(),
        mode="lines",
        line={"color": BLUE, "width": 1.5, "shape": "hv", "dash": "dot"},
        hoverinfo="skip",
        name=points.best_label,
    )


def _predicted(picture: FrontPicture, points: Points) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(
        x=points.predicted[:, 0].tolist(),
        y=points.predicted[:, 1].tolist(),
        mode="markers",
        marker={"symbol": "x-thin", "size": 7, "line": {"color": GREY, "width": 1.5}},
        text=[hover_text(row, picture.rows) for row in picture.rows],
        hovertemplate="%{text}<extra>predicted</extra>",
        name="predicted",
    )


def _measured(picture: FrontPicture, points: Points) -> list[Any]:
    """Filled marks of the members that count and hollow ones of those that others dominate."""
    traces = []
    for name, dominated in (("measured", False), ("measured, but dominated", True)):
        chosen = np.flatnonzero(points.is_measured & (points.dominated == dominated))
        if len(chosen):
            traces.append(_marks(picture, points, chosen.tolist(), name, hollow=dominated))
    return traces


def _marks(picture: FrontPicture, points: Points, chosen: list[int], name: str, hollow: bool) -> Any:
    from plotly.graph_objects import Scatter

    marker: dict[str, Any] = {"size": points.diameters[chosen].tolist(), "opacity": 1}
    colour: dict[str, Any] = {"color": BLUE}
    if points.shade is not None:
        low, high = float(points.shades.min()), float(points.shades.max())
        colour = {"color": points.shades[chosen].tolist(), "colorscale": "Cividis", "cmin": low, "cmax": high}
        marker |= {"showscale": not hollow, "colorbar": _colour_bar(points.shade.label)} if not hollow else {}
    if hollow:
        marker |= {"color": "white", "line": {"width": 2, **colour}}
    else:
        marker |= {"line": {"width": 1, "color": INK}, **colour}
    return Scatter(
        x=points.measured[chosen, 0].tolist(),
        y=points.measured[chosen, 1].tolist(),
        mode="markers",
        marker=marker,
        text=[hover_text(picture.rows[i], picture.rows) for i in chosen],
        hovertemplate="%{text}<extra></extra>",
        name=name,
    )


def _colour_bar(label: str) -> dict[str, Any]:
    return {"title": {"text": label, "side": "right"}, "len": 0.74, "y": 1, "yanchor": "top", "thickness": 14}


def _growth(hypervolumes: Sequence[float], step: str) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(
        x=list(range(1, len(hypervolumes) + 1)),
        y=list(hypervolumes),
        mode="lines+markers" if len(hypervolumes) < 2 else "lines",
        line={"color": BLUE, "width": 2},
        hovertemplate=step + " %{x}<br>hypervolume %{y:.5g}<extra></extra>",
        showlegend=False,
    )


def hover_text(row: Row, rows: Sequence[Row]) -> str:
    """What is said of a member: its network in short, and each metric as predicted and as measured."""
    lines = [f"<b>Candidate {row['candidate']}</b>"]
    lines += [html.escape(str(row[key])) for key in ("architecture", "bits") if row.get(key)]
    lines += [f"{word}: {html.escape(text)}" for word, text in _formats(row["policy"])]
    for metric in METRICS:
        if metric in row["predicted"]:
            axis, measured = axis_of(metric, rows), row["measured"].get(metric)
            line = f"{axis.name}: {axis.text(row['predicted'][metric])}"
            lines.append(line if measured is None else f"{line} predicted, <b>{axis.text(measured)}</b> measured")
    if row["measured"].get("top1_test") is not None:
        lines.append(f"Test accuracy: <b>{axis_of('top1', rows).text(row['measured']['top1_test'])}</b>")
    if row["dominated"]:
        lines.append("<i>dominated by another member</i>")
    return "<br>".join(lines)


def _formats(policy: Sequence[Row]) -> list[tuple[str, str]]:
    """How many layers have weights and activations in which format."""
    return [
        (word, ", ".join(f"{n} x {name}" for name, n in sorted(Counter(layer[key] for layer in policy).items())))
        for word, key in (("Weights", "weight_format"), ("Activations", "activation_format"))
        if policy
    ]


def _pen_strokes(pairs: Floats) -> list[float | None]:
    return [value for first, second in pairs.tolist() for value in (first, second, None)]
