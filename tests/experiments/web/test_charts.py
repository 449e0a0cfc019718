"""Charts, axes and the strip: where things are is what the numbers say."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.experiments.web.axes import chosen_axes, scales_of
from bitfront.experiments.web.candidate_page import judged
from bitfront.experiments.web.charts import Pair, line_chart, nice_ticks, pair_chart, span
from bitfront.experiments.web.strip import strip_of

_NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 6))


@given(_NUMBERS, st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    high = low + max(width, abs(low) * 1e-6)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 2 <= len(ticks) <= 12
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(st.lists(_NUMBERS, min_size=1, max_size=900))
def test_a_line_keeps_its_ends_and_stays_in_its_frame(values: list[float]) -> None:
    chart = line_chart(values, "Generation", "Hypervolume")
    assert chart is not None
    points = [tuple(map(float, point.split(","))) for point in chart.line.split()]
    assert len(points) == min(len(values), len(points)) <= 402
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in points)
    assert (values[0] <= values[-1]) == (points[0][1] >= points[-1][1]) or math.isclose(
        points[0][1], points[-1][1]
    )


def test_nothing_makes_no_chart() -> None:
    assert line_chart([], "x", "y") is None
    assert pair_chart([], "x", "y") is None


def test_marks_on_the_diagonal_agree_and_intervals_hold_or_miss() -> None:
    pairs = [Pair(90.0, 2.0, 90.0, "a"), Pair(95.0, 2.0, 96.5, "b"), Pair(99.0, 2.0, 91.0, "c")]
    chart = pair_chart(pairs, "measured", "predicted")
    assert chart is not None
    assert chart.diagonal is not None
    x1, y1, x2, y2 = chart.diagonal
    first = chart.marks[0]
    assert first.y == pytest.approx(y1 + (first.x - x1) / (x2 - x1) * (y2 - y1), abs=0.2)
    assert [mark.holds for mark in chart.marks] == [True, True, False]
    assert all(mark.low >= mark.y >= mark.high for mark in chart.marks)  # pixels grow downwards


def test_a_span_has_measured_where_it_is() -> None:
    line = span(97.0, (96.0, 98.0), 97.0, 98.0)
    assert line.measured == line.predicted
    assert line.test == line.high
    assert line.predicted - line.low == pytest.approx(line.high - line.predicted, abs=0.2)
    assert span(97.0, (97.0, 97.0), None, None).measured is None


def test_scales_are_in_units_that_the_numbers_fill() -> None:
    scales = scales_of([{"top1": 0.9, "latency_ms@phone": 0.3, "size_bytes": 5000.0}, {"latency_ms@phone": 0.2}])
    assert list(scales) == ["top1", "latency_ms@phone", "size_bytes"]
    assert scales["latency_ms@phone"].label == "Latency on phone (µs)"
    assert scales["latency_ms@phone"].text(0.25) == "250 µs"
    assert scales["size_bytes"].number(2048.0) == "2"
    assert scales["top1"].text(None) == "\N{EN DASH}"
    assert (scales["top1"].better, scales["size_bytes"].better) == ("higher", "lower")


@pytest.mark.parametrize(
    ("metrics", "objectives", "x", "y", "wanted"),
    [
        (["top1", "latency_ms", "macs"], ["top1", "latency_ms"], "", "", ("latency_ms", "top1")),
        (["top1", "latency_ms", "macs"], ["macs", "top1"], "", "", ("macs", "top1")),
        (["top1", "latency_ms", "macs"], ["top1", "latency_ms"], "macs", "", ("macs", "top1")),
        (["top1", "latency_ms", "macs"], ["top1"], "nothing", "latency_ms", ("top1", "latency_ms")),
        (["macs"], ["macs"], "", "", ("macs", "macs")),
        (
            ["top1@a", "latency_ms@a", "latency_ms@b"],
            ["latency_ms@b", "top1@a"],
            "",
            "",
            ("latency_ms@b", "top1@a"),
        ),
    ],
)
def test_axes_are_what_was_asked_for_or_what_is_there(
    metrics: list[str], objectives: list[str], x: str, y: str, wanted: tuple[str, str]
) -> None:
    assert chosen_axes(metrics, objectives, x, y) == wanted


def test_a_strip_shows_layers_in_order_by_block() -> None:
    names = (
        "name",
        "op",
        "kernel",
        "width",
        "weight_bits",
        "activation_bits",
        "weight_format",
        "activation_format",
    )
    layers = [
        dict(zip(names, (f"l{i}", "conv", 3, width, 8, 4, "int8", "int4"), strict=True)) | {"block": block}
        for i, (block, width) in enumerate(
            [("stem", 8), ("stage0.block0", 32), ("stage0.block0", 16), ("head", 10)]
        )
    ]
    strip = strip_of(layers)
    assert [layer.name for layer in strip.layers] == ["l0", "l1", "l2", "l3"]
    assert [block.name for block in strip.blocks] == ["stem", "stage0.block0", "head"]
    assert max(strip.layers, key=lambda layer: layer.height).name == "l1"
    xs = [layer.x for layer in strip.layers]
    assert xs == sorted(xs)
    assert xs[-1] < strip.width


def test_no_interval_of_an_accuracy_leaves_0_to_1() -> None:
    (row,) = judged({"top1": 0.97}, {"top1": 0.95}, {"top1": 0.1})
    assert row.line is not None
    assert row.half_width == 0.1
    assert all(float(tick.text) <= 101 for tick in row.line.ticks)
    whole = span(97.0, (87.0, 100.0), 95.0, None)
    assert (row.line.low, row.line.high, row.line.measured) == (whole.low, whole.high, whole.measured)
