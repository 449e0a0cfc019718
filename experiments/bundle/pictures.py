"""The pictures of a model card, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.bundle.judged import Judged
from bitfront.experiments.plot_png import BLUE, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 130
_BITS = {2: "#fde725", 4: "#a5db36", 6: "#35b779", 8: "#31688e", 16: "#443983", 32: "#440154"}
_OTHER = "#999999"
_MOST_IN_MATRIX = 20
_MOST_NUMBERED = 12
_WORST = 30
_LONGEST_NAME, _SHORT_NAME = 18, 3

Confusion = NDArray[np.int64]


def layers_png(layers: Sequence[Mapping[str, Any]]) -> bytes:
    """The network layer by layer: heights are channels, colours bits, above of weights and below of inputs.

    ``layers`` are those of a manifest.
    """
    figure = _figure(min(16.0, max(7.0, 0.28 * len(layers))), 4.2)
    axes = figure.subplots()
    heights = np.sqrt([layer["out_channels"] for layer in layers])
    heights = np.maximum(heights / heights.max(), 0.06)
    for place, (layer, height) in enumerate(zip(layers, heights, strict=True)):
        axes.bar(place, height, 0.82, bottom=0.03, color=_BITS.get(layer["weight_bits"], _OTHER))
        axes.bar(place, -0.16, 0.82, bottom=-0.03, color=_BITS.get(layer["activation_bits"], _OTHER))
        axes.text(place, height + 0.05, layer["out_channels"], ha="center", va="bottom", fontsize=7, color=INK)
    _name_blocks(axes, layers)
    _name_bits(axes, layers)
    axes.set(xlim=(-0.8, len(layers) - 0.2), ylim=(-0.22, 1.2), yticks=[])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_title("Layers: output channels, bits of weights (bars) and of inputs (strip)", **_TITLE)
    return _png(figure)


_TITLE: dict[str, Any] = {"fontsize": 11, "color": INK, "loc": "left"}


def _name_blocks(axes: Axes, layers: Sequence[Mapping[str, Any]]) -> None:
    ticks, names, start = [], [], 0
    for name, own in groupby(layers, key=lambda layer: str(layer["block"])):
        count = len(list(own))
        ticks.append(start + (count - 1) / 2)
        names.append(name)
        start += count
        axes.axvline(start - 0.5, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_xticks(ticks, names, fontsize=7, rotation=60, ha="right", rotation_mode="anchor", color=INK)
    axes.tick_params(axis="x", length=0)


def _name_bits(axes: Axes, layers: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.patches import Patch

    used = sorted({layer[kind] for layer in layers for kind in ("weight_bits", "activation_bits")})
    patches = [Patch(color=_BITS.get(bits, _OTHER), label=f"{bits} bits") for bits in used]
    axes.figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=8)


def judged_png(metrics: Sequence[Judged]) -> bytes:
    """What was predicted beside what was measured: a panel for each metric of which both or several are known."""
    shown = [one for one in metrics if one.measured]
    lines = [len(one.measured) + (one.predicted is not None) for one in shown]
    figure = _figure(8.0, 0.6 * len(shown) + 0.27 * sum(lines))
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[count + 1 for count in lines])[:, 0]
    for axes, one in zip(panels, shown, strict=True):
        _draw_judged(axes, one)
    return _png(figure)


def _draw_judged(axes: Axes, one: Judged) -> None:
    rows = [*([] if one.predicted is None else [("predicted", one.predicted)]), *one.measured]
    values = [value / one.axis.scale for _, value in rows]
    for place, ((name, value), shown) in enumerate(zip(rows, values, strict=True)):
        is_predicted = name == "predicted"
        axes.hlines(place, 0, shown, color=GREY if is_predicted else BLUE, linewidth=1.5, alpha=0.6)
        axes.plot(shown, place, marker="x" if is_predicted else "o", color=GREY if is_predicted else BLUE, ms=7)
        axes.annotate(
            one.axis.text(value), (shown, place), (8, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8, color=INK)
    axes.set(xlim=(0, max(values, default=1.0) * 1.22 or 1.0), ylim=(len(rows) - 0.4, -0.6), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(one.title + (f" ({one.axis.unit})" if one.axis.unit else ""), **_TITLE)


def classes_png(confusion: Confusion, names: Sequence[str]) -> bytes:
    """Which classes are taken for which: ``confusion`` (k, k) counts images of a class (row) by answer (column).

    Of many classes it is the accuracy of those that come off worst.
    """
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    if len(names) <= _MOST_IN_MATRIX:
        return _matrix(confusion, shown)
    totals = confusion.sum(1)
    known = np.flatnonzero(totals)
    shares = confusion.diagonal()[known] / totals[known]
    worst = np.argsort(shares, kind="stable")[:_WORST]
    figure = _figure(7.0, 1.0 + 0.22 * len(worst))
    axes = figure.subplots()
    axes.barh(np.arange(len(worst)), shares[worst], color=BLUE)
    axes.set_yticks(np.arange(len(worst)), [shown[known[row]] for row in worst], fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(worst) - 0.4, -0.6), xticks=np.linspace(0, 1, 6))
    axes.set_xlabel("accuracy on test images", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"The {len(worst)} classes that come off worst, of {len(names)}", **_TITLE)
    return _png(figure)


def _matrix(confusion: Confusion, names: Sequence[str]) -> bytes:
    k = len(names)
    figure = _figure(2.2 + 0.42 * k, 1.8 + 0.4 * k)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if k <= _MOST_NUMBERED:
        for row, column in np.ndindex(k, k):
            if confusion[row, column]:
                colour = "white" if shares[row, column] > 0.5 else INK
                text = f"{confusion[row, column]}"
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(k), names, fontsize=8, **(turned if max(map(len, names)) > _SHORT_NAME else {}))
    axes.set_yticks(range(k), names, fontsize=8)
    axes.set_xlabel("answer", fontsize=9)
    axes.set_ylabel("class", fontsize=9)
    axes.tick_params(length=0)
    axes.set_title("Test images by class and answer", **_TITLE)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    import warnings

    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # classes may have any names
        figure.savefig(image, format="png")
    return image.getvalue()
