from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy.stats import kendalltau

from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.device import MeasuringDevice
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.devices.host_onnxruntime import HostONNXRuntime
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace


def networks_of(space: MBConvSpace, n: int, seed: int) -> tuple[np.ndarray, list[Folded]]:
    rng = np.random.default_rng(seed)
    genomes = space.sample(n, rng)
    return genomes, [random_folded(space.blocks(genome), rng) for genome in genomes]


class TestDevice:
    def test_it_is_registered_and_measures(self) -> None:
        device = DEVICES.get("host-onnxruntime")(threads=1, batch=2)
        assert isinstance(device, MeasuringDevice)
        assert device.is_measured
        assert device.costs == ("latency_ms",)

    @pytest.mark.parametrize("op", ["conv", "pointwise", "depthwise"])
    def test_it_executes_fp32_and_int8(self, op: str) -> None:
        assert HostONNXRuntime().executable(op) == {("fp32", "fp32"), ("int8", "int8")}

    def test_linear_layers_can_have_packed_weights(self) -> None:
        pairs = {("fp32", "fp32"), ("int8", "int8"), ("int4", "fp32")}
        assert HostONNXRuntime().executable("linear") == pairs

    def test_it_says_where_its_numbers_come_from(self) -> None:
        provenance = HostONNXRuntime(threads=2, batch=4, rounds=5).provenance()
        assert provenance["runtime_version"] == onnxruntime.__version__
        assert (provenance["threads"], provenance["batch"], provenance["rounds"]) == (2, 4, 5)
        assert provenance["timer"] == "perf_counter_ns"
        assert HostONNXRuntime().provenance()["timer"] == "thread_time_ns"
        assert {"cpu_model", "isa", "date"} <= provenance.keys()
        json.dumps(provenance, allow_nan=False)

    @pytest.mark.parametrize("options", [{"threads": 0}, {"batch": -1}, {"rounds": 0}])
    def test_bad_options_are_named(self, options: dict[str, int]) -> None:
        with pytest.raises(UnsupportedError, match=next(iter(options))):
            HostONNXRuntime(**options)

    def test_larger_networks_take_longer(self) -> None:
        device = HostONNXRuntime(rounds=4)
        space = device.restrict(digits())
        small, large = (
            space.assign(space.extremes()[i : i + 1], {"weight_format": "int8", "activation_format": "int8"})
            for i in (0, 1)
        )
        rng = np.random.default_rng(0)
        networks = [random_folded(space.blocks(genomes[0]), rng) for genomes in (large, small)]
        latencies = device.measure(networks, rng)
        assert latencies.shape == (2,)
        assert latencies[0] > 2 * latencies[1] > 0

    def test_a_larger_batch_takes_longer(self) -> None:
        _, networks = networks_of(HostONNXRuntime().restrict(digits()), 1, seed=0)
        one, many = (
            HostONNXRuntime(batch=batch, rounds=4).measure(networks, np.random.default_rng(0))[0]
            for batch in (1, 32)
        )
        assert many > 3 * one

    def test_formats_it_does_not_execute_are_refused(self) -> None:
        space = digits()
        genome = space.genome({"stage0.block0.pointwise.weight_format": "int4"})
        network = random_folded(space.blocks(genome), np.random.default_rng(0))
        with pytest.raises(UnsupportedError, match=r"stage0\.block0\.expand with int4 weights and fp32"):
            HostONNXRuntime().measure([network], np.random.default_rng(0))


class KillError(Exception):
    """Stands for a kill of the process."""


@pytest.mark.slow
def test_profile_of_a_cut_down_space_survives_a_kill_and_orders_networks(tmp_path: Path) -> None:
    device = HostONNXRuntime()
    space = device.restrict(
        digits().restrict(
            {
                gene.name: gene.choices[:2] if gene.kind == "kernel" else gene.choices[-2:]
                for gene in digits().genes
                if gene.kind in ("kernel", "width", "resolution")
            }
        )
    )
    blocks, path = unique_blocks(space, device), tmp_path / "table.json"

    def kill_late(done: int, total: int) -> None:
        if done > 0.8 * total:
            raise KillError

    with pytest.raises(KillError):
        device.table(space, path, np.random.default_rng(0), kill_late)
    assert not path.exists()
    saved = json.loads(path.with_name("table.partial.json").read_text())["samples"]
    assert saved.keys() >= blocks.keys()

    table = device.table(space, path, np.random.default_rng(0))
    assert table.entries.keys() == blocks.keys()
    assert {row["rounds"] for row in table.details.values()} == {32}
    assert np.mean([row["latency_ms"] > 0 for row in table.entries.values()]) > 0.95

    genomes, networks = networks_of(space, 24, seed=1)
    predicted = compile_costs(space, device, table).cost(genomes)["latency_ms"]
    measured = device.measure(networks, np.random.default_rng(2))
    # A core that is shared with other work runs everything slower by one factor, so the factor is taken out.
    assert kendalltau(predicted, measured).statistic > 0.7
    ratio = predicted / measured
    assert np.abs(ratio / np.median(ratio) - 1).mean() < 0.25
