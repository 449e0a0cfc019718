from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.latency_lut.cost_model import CostModel, compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.latency_lut.profile_plan import input_shape, output_shape
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
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        blocks = unique_blocks(space, self)
        before = {(output_shape(block), handed_over(block)) for block in blocks.values()}
        after = {(input_shape(block), asked_for(block)) for block in blocks.values()}
        keys = {
            border_key(*shape, handed, asked)
            for shape, handed in before
            for other, asked in after
            if shape == other and handed != asked
        }
        return Table(self.name, space.hash(), self.costs, self.rows(blocks), borders=self.rows(keys))

    def rows(self, keys: Iterable[str]) -> dict[str, dict[str, float]]:
        return {key: {cost: self.cost_of(key, cost) for cost in self.costs} for key in keys}

    def provenance(self) -> dict[str, Any]:
        return {}


DEVICE = Toy()
SPACE = DEVICE.restrict(digits())
DRAWN = st.lists(
    st.tuples(*(st.integers(0, int(size) - 1) for size in SPACE.cardinalities)), min_size=1, max_size=5
).map(lambda rows: np.array(rows, dtype=np.uint8))


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
    keys = [*map(op_key, blocks)]
    for a, b in itertools.pairwise(blocks):
        if handed_over(a) != asked_for(b):
            keys.append(border_key(*output_shape(a), handed_over(a), asked_for(b)))
    return {
        "latency_ms": sum(DEVICE.cost_of(key, "latency_ms") for key in keys),
        "energy_mj": sum(DEVICE.cost_of(key, "energy_mj") for key in keys),
        "size_bytes": size_bytes(layers),
        "peak_memory_bytes": max(_live_sets(blocks)),
        "macs": sum(layer.macs for layer in layers),
        "bitops": sum(layer.macs * BITS[layer.weight_format] * BITS[layer.activation_format] for layer in layers),
    }


def _is_sum_of_parts(costs: dict[str, NDArray[np.float64]], genomes: Genomes) -> None:
    expected = [_expected(genome) for genome in genomes]
    for name, values in costs.items():
        assert values.shape == (len(genomes),)
        assert values.dtype == np.float64
        # Sums of dyadic numbers and whole bytes: exact in any order.
        np.testing.assert_array_equal(values, [one[name] for one in expected], err_msg=name)


def test_a_sum_equals_its_parts(model: CostModel, genomes: Genomes) -> None:
    costs = model.cost(genomes)
    assert set(costs) == set(model.names) == set(_expected(genomes[0]))
    _is_sum_of_parts(costs, genomes)
    assert min(len(np.unique(values)) for values in costs.values()) > 10


@given(drawn=DRAWN)
def test_a_sum_equals_its_parts_wherever_it_is_drawn(model: CostModel, drawn: Genomes) -> None:
    genomes = SPACE.repair(drawn)
    _is_sum_of_parts(model.cost(genomes), genomes)


@given(drawn=DRAWN, other=st.integers(0, 2**32 - 1))
def test_inactive_genes_do_not_matter(model: CostModel, drawn: Genomes, other: int) -> None:
    genomes = SPACE.repair(drawn)
    noise = np.random.default_rng(other).integers(0, SPACE.cardinalities, genomes.shape)
    loose = np.where(SPACE.active(genomes), genomes, noise).astype(np.uint8)
    for name, values in model.cost(loose).items():
        np.testing.assert_array_equal(values, model.cost(genomes)[name])


def test_the_order_and_size_of_a_batch_do_not_matter(model: CostModel) -> None:
    rng = np.random.default_rng(2)
    many = SPACE.sample(10_000, rng)
    order = rng.permutation(len(many))
    costs, shuffled = model.cost(many), model.cost(many[order])
    alone = model.cost(many[4321:4322])
    for name in model.names:
        np.testing.assert_array_equal(costs[name][order], shuffled[name])
        assert costs[name][4321] == alone[name][0]


def test_borders_cost_where_formats_meet_whatever_is_skipped_between(table: Table, genomes: Genomes) -> None:
    free = compile_costs(SPACE, DEVICE, replace(table, borders={}))
    one = next(iter(table.borders))
    single = compile_costs(SPACE, DEVICE, replace(table, borders={one: {"latency_ms": 1.0, "energy_mj": 0.0}}))
    more = single.cost(genomes)["latency_ms"] - free.cost(genomes)["latency_ms"]
    crossed = [
        sum(
            border_key(*output_shape(a), handed_over(a), asked_for(b)) == one
            for a, b in itertools.pairwise(SPACE.blocks(genome))
        )
        for genome in genomes
    ]
    np.testing.assert_allclose(more, crossed, atol=1e-9)
    assert 0 < np.mean(crossed) < 1


def test_a_block_without_an_entry_costs_the_sum_of_its_layers(table: Table, genomes: Genomes) -> None:
    blocks = unique_blocks(SPACE, DEVICE)
    layers = {layer_key(layer) for block in blocks.values() for layer in block.layers}
    by_layer = compile_costs(SPACE, DEVICE, replace(table, entries=DEVICE.rows(layers), borders={}))
    expected = [
        sum(DEVICE.cost_of(layer_key(layer), "latency_ms") for layer in SPACE.layers(genome)) for genome in genomes
    ]
    np.testing.assert_array_equal(by_layer.cost(genomes)["latency_ms"], expected)


def test_estimated_entries_are_flagged(table: Table, model: CostModel, genomes: Genomes) -> None:
    assert not model.estimated(genomes).any()
    keys = sorted(table.entries)[::7]
    marked = replace(table, details={key: {"interpolated": ["some", "others"]} for key in keys})
    flags = compile_costs(SPACE, DEVICE, marked).estimated(genomes)
    expected = [any(op_key(block) in keys for block in SPACE.blocks(genome)) for genome in genomes]
    np.testing.assert_array_equal(flags, expected)
    assert 0 < flags.mean() < 1


def test_a_device_compiles_itself(model: CostModel, genomes: Genomes) -> None:
    compiled = DEVICE.compile(digits())
    for name, values in compiled.cost(genomes).items():
        np.testing.assert_array_equal(values, model.cost(genomes)[name])


def test_an_empty_batch_costs_nothing(model: CostModel) -> None:
    costs = model.cost(SPACE.sample(0, np.random.default_rng(0)))
    assert {values.shape for values in costs.values()} == {(0,)}


def test_whole_network_corrections_apply_to_sums(table: Table, model: CostModel, genomes: Genomes) -> None:
    correction = {"latency_ms": Correction(offset=-0.25, scale=1.5)}
    corrected = replace(table, correction=correction)
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


def test_a_network_of_which_a_device_executes_nothing_is_refused() -> None:
    bitfusion = DEVICES.get("bitfusion")()
    table = bitfusion.table(bitfusion.restrict(digits()), None, np.random.default_rng(0))
    formats = [gene.name for gene in digits().genes if gene.name.endswith("_format")]
    in_fp32 = digits().restrict({name: ["fp32"] for name in formats})
    with pytest.raises(UnsupportedError, match="executes no block"):
        compile_costs(in_fp32, bitfusion, table)


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


def test_large_tables_are_exact() -> None:
    """A slot with more rows than 16 bits count."""
    stage = StageConfig(out_channels=8, stride=1, depths=(1,), widths=tuple(range(1, 161)), kernels=(3,))
    formats = ("fp32", "int8", "int6", "int4")
    whole = MBConvSpace("large", MBConvConfig(1, 2, 8, 1, (stage,), 8, (8,), formats, formats, ("fp32",)))
    space = DEVICE.restrict(whole)
    layers = {layer_key(layer) for block in unique_blocks(space, DEVICE).values() for layer in block.layers}
    table = Table("toy", space.hash(), DEVICE.costs, DEVICE.rows(layers))
    model = compile_costs(space, DEVICE, table)
    assert max(len(slot.costs) for slot in model.tables.slots) > 1 << 16
    genomes = np.concatenate([space.extremes(), space.sample(50, np.random.default_rng(0))])
    expected = [
        sum(DEVICE.cost_of(layer_key(layer), "latency_ms") for layer in space.layers(one)) for one in genomes
    ]
    np.testing.assert_array_equal(model.cost(genomes)["latency_ms"], expected)


def test_unique_blocks_are_those_that_genomes_build(genomes: Genomes) -> None:
    known = unique_blocks(SPACE, DEVICE)
    assert {op_key(block) for genome in genomes for block in SPACE.blocks(genome)} <= known.keys()
    pairs = {op: DEVICE.executable(op) for op in ("conv", "pointwise", "depthwise", "linear")}
    for key, block in known.items():
        assert op_key(block) == key
        assert all((layer.weight_format, layer.activation_format) in pairs[layer.op] for layer in block.layers)
