"""The device behind an imported table, and what it does about gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.interpolate import Interpolator
from bitfront.latency_lut.op_key import layer_key, op_key
from bitfront.latency_lut.slot_blocks import every_block, unique_blocks
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.spaces.proxyless import proxyless

Cost = Callable[[Block], float]


def power_law(block: Block) -> float:
    """A product of powers of the shapes, as a roof of compute or of memory is."""
    first, last = block.layers[0], block.layers[-1]
    return float(
        1e-7 * float(first.in_channels) ** 0.8 * float(last.out_channels) ** 1.1 * float(first.in_size) ** 1.7
    )


@pytest.fixture(scope="module")
def space() -> MBConvSpace:
    return bitfusion().restrict(digits())


@pytest.fixture(scope="module")
def blocks(space: MBConvSpace) -> dict[str, Block]:
    return unique_blocks(space, bitfusion())


def saved(path: Path, space: MBConvSpace, entries: dict[str, float]) -> str:
    rows = {key: {"latency_ms": cost} for key, cost in entries.items()}
    Table("phone", space.hash(), ("latency_ms",), rows, {"who": "a test"}).save(path)
    return str(path)


class TestGaps:
    def test_they_are_left_out_of_the_space(
        self, space: MBConvSpace, blocks: dict[str, Block], tmp_path: Path
    ) -> None:
        left = {key: power_law(block) for key, block in blocks.items() if "k7" not in key}
        device = ImportedDevice(saved(tmp_path / "phone.json", space, left))
        restricted = device.restrict(digits())
        for genome in restricted.sample(100, np.random.default_rng(0)):
            assert 7 not in {layer.kernel for layer in restricted.layers(genome)}
        costs = device.compile(digits()).cost(restricted.sample(100, np.random.default_rng(0)))
        assert np.isfinite(costs["latency_ms"]).all()

    def test_they_are_estimated_and_flagged_where_that_is_asked_for(
        self, space: MBConvSpace, blocks: dict[str, Block], tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        known = {key: power_law(block) for key, block in blocks.items() if rng.random() > 0.2 or ":" not in key}
        device = ImportedDevice(saved(tmp_path / "phone.json", space, known), interpolate=True)
        restricted = device.restrict(digits())
        assert restricted.size() > 0.5 * space.size()
        table = device.table(restricted, None, rng)
        gaps = table.entries.keys() - known.keys()
        assert len(gaps) > 0.05 * len(blocks)
        ratios = [table.entries[key]["latency_ms"] / power_law(blocks[key]) for key in gaps]
        assert np.median(np.abs(np.array(ratios) - 1)) < 0.02
        for key in gaps:
            assert set(table.details[key]["interpolated"]) <= known.keys()
        genomes = restricted.sample(200, rng)
        flags = device.compile(digits()).estimated(genomes)
        expected = [any(op_key(block) in gaps for block in restricted.blocks(genome)) for genome in genomes]
        np.testing.assert_array_equal(flags, expected)

    def test_a_sum_of_layers_is_flagged_where_one_of_them_is(
        self, space: MBConvSpace, blocks: dict[str, Block], tmp_path: Path
    ) -> None:
        layers = dict.fromkeys(layer_key(layer) for block in blocks.values() for layer in block.layers)
        guessed = next(layer_key(block.layers[1]) for block in blocks.values() if block.kind == "mbconv")
        rows = {key: {"latency_ms": 1.0} for key in layers}
        details = {guessed: {"interpolated": [next(iter(layers))]}}
        Table("phone", space.hash(), ("latency_ms",), rows, details=details).save(tmp_path / "phone.json")
        table = ImportedDevice(str(tmp_path / "phone.json")).table(space, None, np.random.default_rng(0))
        flagged = {key for key, block in blocks.items() if guessed in map(layer_key, block.layers)}
        assert 0 < len(flagged) < len(blocks)
        assert table.details == {key: {"interpolated": [guessed]} for key in flagged}


class TestInterpolator:
    def _layers(self) -> dict[str, Layer]:
        shapes = [(c, o, s) for c in (8, 16, 32, 64) for o in (16, 32, 96) for s in (7, 14, 28, 56)]
        layers = [Layer("x", "pointwise", c, o, 1, 1, s, "int8", "int8", True, "relu") for c, o, s in shapes]
        return {layer_key(layer): layer for layer in layers}

    def _law(self, layer: Layer) -> float:
        return float(
            3e-6 * float(layer.in_channels) ** 0.9 * float(layer.out_channels) ** 0.7 * layer.in_size**2.1
        )

    def test_a_power_law_is_met_within_and_beyond_the_table(self) -> None:
        layers = self._layers()
        entries = {key: {"latency_ms": self._law(layer)} for key, layer in layers.items()}
        interpolator = Interpolator(Table("d", "s", ("latency_ms",), entries))
        for channels, out, size in ((24, 48, 20), (48, 64, 14), (10, 96, 56), (128, 128, 56)):
            wanted = Layer("x", "pointwise", channels, out, 1, 1, size, "int8", "int8", True, "relu")
            found = interpolator.estimate(Block("b", "mbconv", (wanted,)))
            assert found is not None
            assert found[0]["latency_ms"] == pytest.approx(self._law(wanted), rel=1e-3)

    def test_noise_is_smoothed_and_not_amplified(self) -> None:
        rng = np.random.default_rng(0)
        layers = self._layers()
        entries = {key: {"latency_ms": self._law(layer) * rng.uniform(0.9, 1.1)} for key, layer in layers.items()}
        interpolator = Interpolator(Table("d", "s", ("latency_ms",), entries))
        wanted = Layer("x", "pointwise", 24, 48, 1, 1, 20, "int8", "int8", True, "relu")
        found = interpolator.estimate(Block("b", "mbconv", (wanted,)))
        assert found is not None
        assert found[0]["latency_ms"] == pytest.approx(self._law(wanted), rel=0.1)

    @pytest.mark.parametrize(
        "change", [{"kernel": 3}, {"stride": 2}, {"weight_format": "int4"}, {"act": "none"}, {"op": "conv"}]
    )
    def test_other_kinds_are_no_help(self, change: dict[str, Any]) -> None:
        entries = {key: {"latency_ms": self._law(layer)} for key, layer in self._layers().items()}
        interpolator = Interpolator(Table("d", "s", ("latency_ms",), entries))
        layer = replace(Layer("x", "pointwise", 24, 48, 1, 1, 20, "int8", "int8", True, "relu"), **change)
        assert interpolator.estimate(Block("b", "mbconv", (layer,))) is None

    def test_rows_left_out_of_a_published_table_are_met(self, published_apq_table: Path) -> None:
        space = proxyless()
        entries = dict(IMPORTERS.get("apq")(published_apq_table, space).entries)
        layers = {layer_key(layer): layer for block in every_block(space) for layer in block.layers}
        rng = np.random.default_rng(0)
        left_out = rng.choice(sorted(entries.keys() & layers.keys()), 300, replace=False).tolist()
        truth = {key: entries.pop(key) for key in left_out}
        interpolator = Interpolator(Table("d", "s", ("latency_ms", "energy_mj"), entries))
        errors = []
        for key, costs in truth.items():
            found = interpolator.estimate(Block("b", "mbconv", (layers[key],)))
            assert found is not None
            errors.append([abs(found[0][cost] / costs[cost] - 1) for cost in ("latency_ms", "energy_mj")])
        assert np.mean(errors, axis=0).max() < 0.02
        assert np.quantile(errors, 0.9, axis=0).max() < 0.06

    def test_two_entries_are_too_few(self) -> None:
        entries = {key: {"latency_ms": 1.0} for key in list(self._layers())[:2]}
        interpolator = Interpolator(Table("d", "s", ("latency_ms",), entries))
        layer = Layer("x", "pointwise", 24, 48, 1, 1, 20, "int8", "int8", True, "relu")
        assert interpolator.estimate(Block("b", "mbconv", (layer,))) is None


class TestFile:
    def test_it_bears_the_tables_name_and_says_where_it_is_from(self, space: MBConvSpace, tmp_path: Path) -> None:
        path = saved(tmp_path / "phone.json", space, {"stem:conv(1>8,k3,s1,8px,w=int8,a=int8,relu)": 1.0})
        device = ImportedDevice(path)
        assert (device.name, device.costs, device.is_measured) == ("phone", ("latency_ms",), False)
        assert device.executable("conv") == {("int8", "int8")}
        assert device.executable("linear") == frozenset()
        assert device.provenance() == {"who": "a test", "file": path, "interpolate": False}

    def test_another_space_is_refused(
        self, tiny_space: MBConvSpace, blocks: dict[str, Block], tmp_path: Path
    ) -> None:
        path = saved(tmp_path / "phone.json", bitfusion().restrict(digits()), dict.fromkeys(blocks, 1.0))
        with pytest.raises((InvalidTableError, UnsupportedError)):
            ImportedDevice(path).compile(tiny_space)

    def test_a_missing_or_broken_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="phone"):
            ImportedDevice(str(tmp_path / "phone.json"))
        (tmp_path / "phone.json").write_text("{}")
        with pytest.raises(CorruptFileError, match="phone"):
            ImportedDevice(str(tmp_path / "phone.json"))

    def test_options_of_another_type_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedError, match="interpolate = 'yes'"):
            ImportedDevice(str(tmp_path), interpolate="yes")  # type: ignore[arg-type]
