"""Pictures of fronts: what is drawn where, that the page is whole by itself, and odd input."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitfront.experiments import plot_html, plots
from bitfront.experiments.plot_html import hover_text
from bitfront.experiments.plot_points import FrontPicture, axis_of, points_of, staircase
from bitfront.experiments.plots import front_figure_html, front_figure_png, write_front
from bitfront.search.constraints import METRICS
from bitfront.supernet.errors import StorageError

Row = dict[str, Any]


def member(
    number: int,
    predicted: tuple[float, float, float],
    measured: tuple[float | None, float | None] = (None, None),
    dominated: bool = False,
) -> Row:
    top1, latency, size = predicted
    layer = {"op": "conv", "kernel": 3, "weight_format": "int4", "activation_format": "int8"}
    return {
        "candidate": number,
        "genome": [0, 1],
        "architecture": "r12 3w8",
        "bits": "w4.0 a8.0",
        "policy": [layer, layer | {"weight_format": "fp32"}],
        "predicted": {"top1": top1, "latency_ms": latency, "size_bytes": size},
        "measured": {"top1": measured[0], "latency_ms": measured[1]},
        "dominated": dominated,
    }


ROWS = [
    member(3, (0.90, 1.0, 2048.0), (0.88, 1.5)),
    member(5, (0.95, 2.0, 4096.0), (0.94, None)),
    member(8, (0.97, 3.0, 3072.0), (0.93, 3.5), dominated=True),
    member(9, (0.99, 4.0, 8192.0)),
]


def picture(
    rows: list[Row] = ROWS,
    objectives: tuple[str, ...] = ("top1", "latency_ms", "size_bytes"),
    title: str = "digits-1",
) -> FrontPicture:
    return FrontPicture(rows, objectives, [0.1, 0.3, 0.35], title, "bitfusion")


class TestPoints:
    def test_measured_stands_where_it_was_measured(self) -> None:
        points = points_of(picture())
        np.testing.assert_allclose(points.predicted, [[1.0, 90.0], [2.0, 95.0], [3.0, 97.0], [4.0, 99.0]])
        np.testing.assert_allclose(points.measured, [[1.5, 88.0], [2.0, 94.0], [3.5, 93.0], [4.0, 99.0]])
        assert points.is_measured.tolist() == [True, True, True, False]
        assert points.dominated.tolist() == [False, False, True, False]
        np.testing.assert_allclose(points.shades, [2, 4, 3, 8])
        assert np.argsort(points.diameters).tolist() == [0, 2, 1, 3]

    @pytest.mark.parametrize(
        ("objectives", "expected"),
        [
            (("top1", "latency_ms", "size_bytes"), ("top1", "latency_ms", "size_bytes")),
            (("size_bytes", "latency_ms", "top1"), ("top1", "latency_ms", "size_bytes")),
            (("top1", "size_bytes"), ("top1", "size_bytes", None)),
            (("latency_ms", "size_bytes"), ("latency_ms", "size_bytes", None)),
            (("size_bytes",), ("top1", "latency_ms", "size_bytes")),
        ],
    )
    def test_axes_follow_the_objectives(
        self, objectives: tuple[str, ...], expected: tuple[str | None, ...]
    ) -> None:
        points = points_of(picture(objectives=objectives))
        shade = points.shade.metric if points.shade else None
        assert (points.y.metric, points.x.metric, shade) == expected

    @pytest.mark.parametrize(
        ("metric", "value", "label", "text"),
        [
            ("top1", 0.98765, "Validation accuracy (%)", "98.77 %"),
            ("latency_ms", 0.0123, "Latency (µs)", "12.3 µs"),
            ("latency_ms", 12.3456, "Latency (ms)", "12.35 ms"),
            ("energy_mj", 3.0, "Energy (mJ)", "3 mJ"),
            ("size_bytes", 512.0, "Size (bytes)", "512 bytes"),
            ("size_bytes", 3 * 1024.0**2, "Size (MiB)", "3 MiB"),
            ("macs", 2.5e6, "Multiply-accumulates (million)", "2.5 million"),
            ("bitops", 7.0, "Bit operations", "7"),
            ("bitops", 0.0, "Bit operations", "0"),
        ],
    )
    def test_units(self, metric: str, value: float, label: str, text: str) -> None:
        axis = axis_of(metric, [{"predicted": {metric: value}, "measured": {}}])
        assert (axis.label, axis.text(value)) == (label, text)

    def test_every_metric_has_an_axis(self) -> None:
        assert all(axis_of(metric, []).label for metric in METRICS)

    def test_staircase_is_the_running_best(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.random((60, 2))
        rows = [member(i, (0.5, 1.0, 1.0), (float(y), float(x) + 1)) for i, (x, y) in enumerate(values)]
        corners = staircase(points_of(picture(rows)))
        measured = np.array([(row["measured"]["latency_ms"], row["measured"]["top1"] * 100) for row in rows])
        for x in np.linspace(measured[:, 0].min(), 2, 50):
            best = measured[measured[:, 0] <= x, 1].max()
            assert corners[corners[:, 0] <= x, 1][-1] == pytest.approx(best)

    def test_wide_spans_get_a_logarithmic_axis(self) -> None:
        assert points_of(picture()).log_ticks == []
        wide = points_of(picture([member(1, (0.9, 1.0, 1.0)), member(2, (0.9, 40.0, 1.0))])).log_ticks
        assert set(wide) >= {1.0, 2.0, 5.0, 10.0, 20.0, 50.0}
        assert points_of(picture([member(1, (0.9, 0.0, 1.0)), member(2, (0.9, 40.0, 1.0))])).log_ticks == []


class _Reader(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [f"{tag} {value}" for name, value in attrs if name in ("src", "href") and value]


class TestPage:
    def test_it_is_whole_by_itself(self) -> None:
        text = front_figure_html(picture())
        reader = _Reader()
        reader.feed(text)
        assert reader.loads == []
        assert reader.scripts >= 1
        assert len(text) > 1_000_000  # the library is inside
        assert "<title>digits-1 on bitfusion</title>" in text
        assert "sendChartToCloud" in text.rpartition("modeBarButtonsToRemove")[2][:60]

    def test_what_is_drawn(self) -> None:
        figure = plot_html._figure(picture()).to_dict()
        traces = {trace.get("name"): trace for trace in figure["data"]}
        assert list(traces["measured"]["x"]) == [1.5, 2.0]
        assert list(traces["measured, but dominated"]["x"]) == [3.5]
        assert traces["measured, but dominated"]["marker"]["color"] == "white"
        assert list(traces["predicted"]["y"]) == [90.0, 95.0, 97.0, 99.0]
        links = next(
            trace for trace in figure["data"] if trace.get("hoverinfo") == "skip" and not trace.get("name")
        )
        assert list(links["x"]) == [1.0, 1.5, None, 2.0, 2.0, None, 3.0, 3.5, None]
        growth = figure["data"][-1]
        assert (list(growth["x"]), list(growth["y"])) == ([1, 2, 3], [0.1, 0.3, 0.35])
        assert figure["layout"]["xaxis"]["title"]["text"] == "Latency (ms)"
        assert figure["layout"]["yaxis"]["title"]["text"] == "Validation accuracy (%)"

    def test_hover(self) -> None:
        text = hover_text(ROWS[2] | {"measured": {"top1": 0.93, "top1_test": 0.921, "latency_ms": None}}, ROWS)
        assert "<b>Candidate 8</b><br>r12 3w8<br>w4.0 a8.0" in text
        assert "Weights: 1 x fp32, 1 x int4<br>Activations: 2 x int8" in text
        assert "Validation accuracy: 97.00 % predicted, <b>93.00 %</b> measured" in text
        assert "Latency: 3 ms<br>" in text
        assert "Test accuracy: <b>92.10 %</b>" in text
        assert "dominated" in text
        plain = {key: value for key, value in ROWS[0].items() if key not in ("architecture", "bits")}
        assert "r12" not in hover_text(plain, ROWS)

    def test_names_are_text_and_not_markup(self) -> None:
        evil = "</script><script>alert(1)</script><b>&"
        text = front_figure_html(picture([ROWS[0] | {"architecture": evil}], title=evil))
        assert "<script>alert" not in text
        reader = _Reader()
        reader.feed(text)
        assert reader.scripts == _scripts(front_figure_html(picture()))


def _scripts(text: str) -> int:
    reader = _Reader()
    reader.feed(text)
    return reader.scripts


class TestImage:
    def test_it_is_a_picture_with_marks(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(front_figure_png(picture()))
        with Image.open(tmp_path / "a.png") as image:
            assert image.size == (2080, 1040)
            colours = image.convert("RGB").getcolors(1_000_000)
        assert colours is not None
        assert len(colours) > 200

    def test_same_input_same_bytes(self) -> None:
        assert front_figure_png(picture()) == front_figure_png(picture())
        assert front_figure_html(picture()) == front_figure_html(picture())

    @pytest.mark.parametrize(
        "odd",
        [
            FrontPicture([], ["top1", "latency_ms"], [], "empty", "bitfusion"),
            FrontPicture(ROWS[:1], ["top1"], [0.5], "one", "bitfusion"),
            FrontPicture(
                ROWS[3:], ["top1", "latency_ms", "size_bytes"], [0.0, 0.0], "nothing measured", "bitfusion"
            ),
            FrontPicture(ROWS, ["latency_ms", "size_bytes"], [], "$x_{1$ 漢字 \\frac", "a\nb"),
            FrontPicture(
                [ROWS[0], member(1, (0.5, 90.0, 0.0), (0.5, 99.0))], ["top1", "latency_ms"], [1], "wide", "x"
            ),
        ],
        ids=lambda one: re.sub(r"\W", "", one.title),
    )
    def test_odd_input(self, odd: FrontPicture) -> None:
        assert front_figure_png(odd).startswith(b"\x89PNG")
        assert front_figure_html(odd).startswith("<!DOCTYPE html>")


class TestFiles:
    def test_both_are_written(self, tmp_path: Path) -> None:
        page, image = write_front(tmp_path / "new", picture())
        assert (page.name, image.name) == ("front.html", "front.png")
        assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["front.html", "front.png"]

    def test_a_folder_that_can_not_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plots, "front_figure_html", lambda _: "page")
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError):
            write_front(tmp_path / "file", picture())
