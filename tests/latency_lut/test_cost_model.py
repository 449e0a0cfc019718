from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.cost_model import CostModel, compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress
from bitfront.supernet.quantization.policy import quantized_outputs, size_bytes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

BITS = {"fp32": 32, "int8": 8, "int6": 6, "int4": 4}


class Toy(Device):
    """Costs are hashes of op keys; float and integer operands may be mixed."""

    name = "toy"
    costs = ("latency_ms", "energy_mj")
    is_measured = False

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        if op == "depthwise":
            return frozenset({("fp32", "fp32"), ("int4", "int8"), ("int8", "int4")})
        return frozenset(
            {("fp32", "fp32"), ("fp32", "int8"), ("int8", "int8"), ("int8", "fp32"), ("int4", "int6")}
        )

    def cost_of(self, key: str, cost: str) -> float:
        return int.from_bytes(hashlib.sha256(f"{key}{cost}".encode()).digest()[:2]) / 1024

    def table(
        self, space: SearchSpace, path: Path, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        keys = unique_blocks(space, self)
        entries = {key: {cost: self.cost_of(key, cost) for cost in self.costs} for key in keys}
        return Table(self.name, space.hash(), self.costs, entries)

    def provenance(self) -> dict[str, Any]:
        return {}


DEVICE = Toy()
SPACE = DEVICE.restrict(digits())


@pytest.fixture(scope="module")
def table() -> Table:
    return DEVICE.table(SPACE, Path(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def model(table: Table) -> CostModel:
    return compile_costs(SPACE, DEVICE, table)


@pytest.fixture(scope="module")
def genomes() -> Genomes:
    return SPACE.sample(400, np.random.default_rng(1))


def _live_sets(blocks: tuple[Block, ...]) -> list[float]:
    """Live bytes at every layer, straight from the rules in the policy's docstring."""
    chain = [(block, layer) for block in blocks for layer in block.layers]
    quantized = quantized_outputs(blocks)
    result = []
    for i, (block, layer) in enumerate(chain):
        consumer = chain[i + 1][1] if i + 1 < len(chain) else None
        added = block.residual and layer is block.layers[-1]
        pooled = consumer is not None and consumer.op == "linear" and layer.op != "linear"
        if layer.name in quantized:
            bits = 8
        elif consumer is None or added or pooled:
            bits = 32
        else:
            bits = BITS[consumer.activation_format]
        alive = layer.in_channels * layer.in_size**2 * BITS[layer.activation_format]
        alive += layer.out_channels * layer.out_size**2 * bits
        if block.residual and layer is not block.layers[0]:
            first = block.layers[0]
            alive += first.in_channels * first.in_size**2 * BITS[first.activation_format]
        result.append(alive / 8)
    return result


def _expected(genome: Any) -> dict[str, float]:
    blocks = SPACE.blocks(genome)
    layers = [layer for block in blocks for layer in block.layers]
    return {
        "latency_ms": sum(DEVICE.cost_of(op_key(block), "latency_ms") for block in blocks),
        "energy_mj": sum(DEVICE.cost_of(op_key(block), "energy_mj") for block in blocks),
        "size_bytes": size_bytes(layers),
        "peak_memory_bytes": max(_live_sets(blocks)),
        "macs": sum(layer.macs for layer in layers),
        "bitops": sum(layer.macs * BITS[layer.weight_format] * BITS[layer.activation_format] for layer in layers),
    }


def test_a_sum_equals_its_parts(model: CostModel, genomes: Genomes) -> None:
    costs = model.cost(genomes)
    expected = [_expected(genome) for genome in genomes]
    assert set(costs) == set(model.names) == set(expected[0])
    for name, values in costs.items():
        assert values.shape == (len(genomes),)
        assert values.dtype == np.float64
        # Sums of dyadic numbers and whole bytes: exact in any order.
        np.testing.assert_array_equal(values, [one[name] for one in expected], err_msg=name)
        assert len(np.unique(values)) > 10


def test_the_order_and_size_of_a_batch_do_not_matter(model: CostModel) -> None:
    rng = np.random.default_rng(2)
    many = SPACE.sample(10_000, rng)
    order = rng.permutation(len(many))
    costs, shuffled = model.cost(many), model.cost(many[order])
    alone = model.cost(many[4321:4322])
    for name in model.names:
        np.testing.assert_array_equal(costs[name][order], shuffled[name])
        assert costs[name][4321] == alone[name][0]


def test_inactive_genes_do_not_matter(model: CostModel, genomes: Genomes) -> None:
    noise = np.random.default_rng(3).integers(0, SPACE.cardinalities, genomes.shape).astype(np.uint8)
    loose = np.where(SPACE.active(genomes), genomes, noise)
    assert (loose != genomes).any(1).mean() > 0.5
    for name, values in model.cost(loose).items():
        np.testing.assert_array_equal(values, model.cost(genomes)[name])


def test_an_empty_batch_costs_nothing(model: CostModel) -> None:
    costs = model.cost(SPACE.sample(0, np.random.default_rng(0)))
    assert {values.shape for values in costs.values()} == {(0,)}


def test_whole_network_corrections_apply_to_sums(table: Table, model: CostModel, genomes: Genomes) -> None:
    correction = {"latency_ms": Correction(offset=-0.25, scale=1.5)}
    corrected = Table(table.device, table.space_hash, table.costs, table.entries, correction=correction)
    costs, plain = compile_costs(SPACE, DEVICE, corrected).cost(genomes), model.cost(genomes)
    np.testing.assert_allclose(costs["latency_ms"], 1.5 * plain["latency_ms"] - 0.25, rtol=1e-15)
    np.testing.assert_array_equal(costs["energy_mj"], plain["energy_mj"])
    np.testing.assert_array_equal(costs["size_bytes"], plain["size_bytes"])


def test_what_a_device_can_not_execute_has_no_cost(model: CostModel) -> None:
    forbidden = SPACE.sample(3, np.random.default_rng(0))
    position = SPACE.position["stage1.block0.depthwise.weight_format"]
    forbidden[1, position] = SPACE.genes[position].choices.index("int6")
    with pytest.raises(UnsupportedError, match=r"1 genomes, the first at row 1, .*'toy'.*restrict"):
        model.cost(forbidden)


def test_restricted_choices_are_not_looked_up(table: Table) -> None:
    small = SPACE.restrict({"resolution": [8]})
    left = {key: table.entries[key] for key in unique_blocks(small, DEVICE)}
    assert len(left) < len(table.entries)
    model = compile_costs(small, DEVICE, Table("toy", SPACE.hash(), DEVICE.costs, left))
    assert np.isfinite(model.cost(small.sample(50, np.random.default_rng(0)))["latency_ms"]).all()


def test_missing_entries_are_listed_with_the_fix(table: Table) -> None:
    entries = dict(table.entries)
    gone = [key for key in entries if key.startswith("head")][:2]
    for key in gone:
        del entries[key]
    with pytest.raises(InvalidTableError, match="lacks 2 blocks") as caught:
        compile_costs(SPACE, DEVICE, Table("toy", SPACE.hash(), DEVICE.costs, entries))
    assert all(key in str(caught.value) for key in gone)
    assert "Profile the device" in str(caught.value)


def test_tables_of_other_devices_spaces_and_costs_are_refused(table: Table) -> None:
    with pytest.raises(InvalidTableError, match=r"'other'.*'toy'"):
        compile_costs(SPACE, DEVICE, Table("other", SPACE.hash(), table.costs, table.entries))
    with pytest.raises(InvalidTableError, match=f"cafe.*{SPACE.hash()[:12]}"):
        compile_costs(SPACE, DEVICE, Table("toy", "cafe" * 16, table.costs, table.entries))
    only = {key: {"latency_ms": row["latency_ms"]} for key, row in table.entries.items()}
    with pytest.raises(InvalidTableError, match="'energy_mj'"):
        compile_costs(SPACE, DEVICE, Table("toy", SPACE.hash(), ("latency_ms",), only))


def test_a_slot_too_large_to_tabulate_is_refused() -> None:
    widths, formats = tuple(range(1, 201)), ("fp32", "int8", "int6", "int4")
    stage = StageConfig(out_channels=8, stride=1, depths=(1,), widths=widths)
    resolutions = tuple(range(8, 208))
    space = MBConvSpace("wide", MBConvConfig(1, 2, 8, 1, (stage,), 8, resolutions, formats, formats, formats))
    with pytest.raises(UnsupportedError, match=r"slot 'stage0.block0'.*30720000"):
        compile_costs(space, DEVICE, Table("toy", space.hash(), DEVICE.costs, {}))


def test_unique_blocks_are_those_that_genomes_build(genomes: Genomes) -> None:
    known = unique_blocks(SPACE, DEVICE)
    assert {op_key(block) for genome in genomes for block in SPACE.blocks(genome)} <= known.keys()
    pairs = {op: DEVICE.executable(op) for op in ("conv", "pointwise", "depthwise", "linear")}
    for key, block in known.items():
        assert op_key(block) == key
        assert all((layer.weight_format, layer.activation_format) in pairs[layer.op] for layer in block.layers)
