"""What every device must keep to: one class that runs over all that is registered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

FORMAT_NAMES = ("fp32", "int8", "int4")


def _tiny() -> MBConvSpace:
    """A handful of blocks, so that a measured device is through in seconds."""
    frame = MBConvConfig(
        in_channels=1,
        classes=3,
        stem_channels=4,
        stem_stride=1,
        stages=(StageConfig(out_channels=4, stride=1, depths=(1, 2), widths=(8,), kernels=(3,)),),
        head_channels=8,
        resolutions=(6,),
        weight_formats=FORMAT_NAMES,
        activation_formats=FORMAT_NAMES,
        end_formats=("fp32", "int8"),
    )
    return MBConvSpace("tiny", frame)


@pytest.fixture(scope="class", params=DEVICES.names())
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Device:
    try:
        return DEVICES.get(request.param)(**_options(request.param, tmp_path_factory))
    except UnsupportedError as error:
        pytest.skip(str(error))  # OpenVINO or vector instructions that are not here


def _options(name: str, places: pytest.TempPathFactory) -> dict[str, str]:
    """What a device can not be made without."""
    if name != "imported":
        return {}
    file = places.mktemp("imported") / "table.json"
    source = bitfusion()
    table = source.table(source.restrict(_tiny()), None, np.random.default_rng(0))
    replace(table, device=name).save(file)
    return {"file": str(file)}


@pytest.fixture(scope="class")
def space(device: Device) -> MBConvSpace:
    return device.restrict(_tiny())


@pytest.fixture(scope="class")
def path(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(device.name) / "table.json"


@pytest.fixture(scope="class")
def table(device: Device, space: MBConvSpace, path: Path) -> Table:
    return device.table(space, path, np.random.default_rng(0), None)


class TestDevice:
    def test_it_goes_by_its_registered_name(self, device: Device, request: pytest.FixtureRequest) -> None:
        assert device.name == request.node.callspec.params["device"]

    def test_it_gives_known_costs(self, device: Device) -> None:
        assert device.costs
        assert set(device.costs) <= {"latency_ms", "energy_mj"}

    def test_it_executes_known_formats(self, device: Device) -> None:
        for op in ("conv", "pointwise", "depthwise", "linear"):
            pairs = device.executable(op)
            assert pairs
            assert {name for pair in pairs for name in pair} <= set(FORMATS.names())

    def test_a_restricted_space_builds_only_what_it_executes(self, device: Device, space: MBConvSpace) -> None:
        for genome in space.sample(50, np.random.default_rng(0)):
            for layer in space.layers(genome):
                assert (layer.weight_format, layer.activation_format) in device.executable(layer.op)

    def test_it_says_where_its_numbers_come_from(self, device: Device) -> None:
        provenance = device.provenance()
        assert provenance
        assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance

    def test_its_table_covers_the_space(self, device: Device, space: MBConvSpace, table: Table) -> None:
        assert table.device == device.name
        assert table.costs == device.costs
        assert table.entries.keys() >= unique_blocks(space, device).keys()
        # A measured block may vanish in the noise; a modelled one never costs nothing.
        assert device.is_measured or all(value > 0 for row in table.entries.values() for value in row.values())

    def test_its_table_is_kept(self, device: Device, space: MBConvSpace, table: Table, path: Path) -> None:
        assert Table.load(path, device.name, space.hash()).entries == table.entries

    def test_asked_again_it_gives_the_same_table(
        self, device: Device, space: MBConvSpace, table: Table, path: Path
    ) -> None:
        assert device.table(space, path, np.random.default_rng(1), None).entries == table.entries

    def test_every_network_of_the_space_has_a_cost(self, device: Device, space: MBConvSpace, table: Table) -> None:
        costs = compile_costs(space, device, table).cost(space.sample(200, np.random.default_rng(0)))
        for name in (*device.costs, "size_bytes", "peak_memory_bytes", "macs", "bitops"):
            assert np.isfinite(costs[name]).all()
            assert (costs[name] > 0).all()

    def test_deeper_networks_cost_more(self, device: Device, space: MBConvSpace, table: Table) -> None:
        model = compile_costs(space, device, table)
        shallow, deep = space.extremes()
        costs = model.cost(np.stack([shallow, deep]))
        for name in ("size_bytes", "macs", *(() if device.is_measured else device.costs)):
            assert costs[name][0] < costs[name][1]
