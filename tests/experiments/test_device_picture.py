"""Pictures of devices: what is drawn, that points are the table's, and that the page is whole by itself."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitfront.experiments import plot_device_html
from bitfront.experiments.device_picture import DevicePicture, Line, Panel, device_picture
from bitfront.experiments.plot_device import columns_of, device_figure_png
from bitfront.experiments.plot_device_html import device_figure_html
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices.bitfusion import BitFusion
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace


class TwoFormats(Device):
    """Executes fp32 and int8, in any layer, and has a table of its own."""

    name = "two"
    costs = ("latency_ms",)
    is_measured = False

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return frozenset({("fp32", "fp32"), ("int8", "int8"), ("int8", "fp32")})

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        raise NotImplementedError

    def provenance(self) -> dict[str, object]:
        return {}


@pytest.fixture(scope="module")
def bitfusion(tiny_space: MBConvSpace) -> tuple[MBConvSpace, Table]:
    """The tiny space, restricted to BitFusion, and its table."""
    device = BitFusion()
    space = device.restrict(tiny_space)
    return space, device.table(space, None, np.random.default_rng(0))


@pytest.fixture(scope="module")
def picture(bitfusion: tuple[MBConvSpace, Table]) -> DevicePicture:
    return device_picture(BitFusion(), *bitfusion)


class TestPoints:
    def test_each_place_has_a_panel(self, picture: DevicePicture) -> None:
        assert [panel.places for panel in picture.panels] == [
            ("stage0.block0",), ("stage0.block1",), ("stage1.block0",), ("stage1.block1",),
        ]  # fmt: skip
        assert picture.formats == ["int8", "int6", "int4"]
        assert picture.kernels == [3, 5, 7]
        assert (picture.cost, picture.resolution, picture.batch) == ("latency_ms", 12, 1)
        assert "a call with 1 image" in picture.heading
        assert {line.kernel for line in picture.panels[2].lines} == {3, 5}

    def test_points_are_those_of_the_table(
        self, picture: DevicePicture, bitfusion: tuple[MBConvSpace, Table]
    ) -> None:
        space, table = bitfusion
        (line,) = [one for one in picture.panels[1].lines if (one.formats, one.kernel) == ("int4", 5)]
        assert line.widths == (4, 8, 12)
        (slot,) = [one for one in space.slots if one.name == "stage0.block1"]
        for width, cost in zip(line.widths, line.costs, strict=True):
            block = slot.build((12, 5, width, "int4", "int4", "int4", "int4"))
            assert table.entries[op_key(block)]["latency_ms"] == cost

    def test_places_with_the_same_blocks_share_a_panel(self) -> None:
        from bitfront.supernet.spaces.digits import digits

        device = BitFusion()
        space = device.restrict(digits())
        shown = device_picture(device, space, device.table(space, None, np.random.default_rng(0)))
        assert [panel.title for panel in shown.panels] == [
            "stage0 block0", "stage0 block1 to block2", "stage1 block0", "stage1 block1 to block2",
            "stage2 block0", "stage2 block1",
        ]  # fmt: skip
        assert shown.panels[2].shape == "12 to 20 channels, 6 px, stride 2"

    def test_mixed_formats_are_shown_where_they_are_few(self, tiny_space: MBConvSpace) -> None:
        space = TwoFormats().restrict(tiny_space)
        blocks = {
            op_key(block): block
            for genome in space.sample(400, np.random.default_rng(1))
            for block in space.blocks(genome)
        }
        costs = {key: {"latency_ms": float(len(key))} for key in blocks}
        shown = device_picture(TwoFormats(), space, Table("two", space.hash(), ("latency_ms",), costs))
        assert set(shown.formats) == {
            "fp32", "int8", "pointwise fp32, depthwise int8", "pointwise int8, depthwise fp32",
        }  # fmt: skip
        assert shown.batch is None

    def test_what_is_not_covered_is_left_out(self, bitfusion: tuple[MBConvSpace, Table]) -> None:
        space, table = bitfusion
        entries = {key: row for key, row in table.entries.items() if "k5" not in key}
        shown = device_picture(BitFusion(), space, Table("bitfusion", space.hash(), table.costs, entries))
        assert shown.kernels == [3, 7]

    def test_space_without_widths(self, bitfusion: tuple[MBConvSpace, Table]) -> None:
        space, table = bitfusion

        class Ends(MBConvSpace):
            slots = (space.slots[0], space.slots[-1])

        with pytest.raises(UnsupportedError, match="nothing to draw"):
            device_picture(BitFusion(), BitFusion().restrict(Ends("ends", space.frame)), table)


class TestDrawn:
    def test_png(self, picture: DevicePicture) -> None:
        with Image.open(io.BytesIO(device_figure_png(picture))) as image:
            colours = {colour for _, colour in image.convert("RGB").getcolors(1_000_000) or ()}
        assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0, 0x9E, 0x73)} <= colours  # the lines in the legend

    def test_page_is_whole_by_itself(self, picture: DevicePicture) -> None:
        text = device_figure_html(picture)
        assert text.startswith("<!DOCTYPE html>")
        assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", text) == []
        assert f"<title>{picture.heading}</title>" in text

    def test_page_draws_every_line_and_names_each_look_once(self, picture: DevicePicture) -> None:
        traces = plot_device_html._figure(picture, 2).to_dict()["data"]
        assert len(traces) == sum(len(panel.lines) for panel in picture.panels)
        named = [trace["name"] for trace in traces if trace["showlegend"]]
        assert sorted(named) == sorted(
            f"{formats}, kernel {kernel}" for formats in picture.formats for kernel in picture.kernels
        )
        assert list(traces[0]["x"]) == list(picture.panels[0].lines[0].widths)
        assert list(traces[0]["y"]) == list(picture.panels[0].lines[0].costs)

    @pytest.mark.parametrize("panels", [1, 2, 5, 13])
    def test_odd_input(self, panels: int) -> None:
        lines = tuple(
            Line(f"<b>{i}$_{{", kernel, (8,), (float(i),)) for i in range(8) for kernel in (1, 3, 5, 7, 9, 11)
        )
        odd = DevicePicture("$x_{1$", "a<b", "energy_mj", 224, None, (Panel(("only",), "", lines),) * panels)
        assert device_figure_png(odd).startswith(b"\x89PNG")
        assert "<b>0" not in device_figure_html(odd).rpartition("Plotly.newPlot")[2]

    def test_grids_are_about_square(self) -> None:
        assert [columns_of(n) for n in (1, 2, 4, 5, 9, 10, 21)] == [1, 2, 2, 3, 3, 4, 4]
