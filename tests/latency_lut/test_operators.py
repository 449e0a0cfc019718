"""Squeeze and excitation, h-swish, shortcuts and maxima in keys, memory, cost models and profiles."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.analytic import work_of
from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices.bitfusion import BitFusion
from bitfront.latency_lut.devices.host_onnxruntime import HostONNXRuntime
from bitfront.latency_lut.devices.host_openvino import HostOpenVINO
from bitfront.latency_lut.devices.roofline import Roofline
from bitfront.latency_lut.op_key import handed_over, layer_key, layers_in, op_key
from bitfront.latency_lut.peak_memory import demanded_bits, live_set, peak_bytes
from bitfront.latency_lut.profile_plan import input_shape, output_shape, profile_plan
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.quantization.policy import layer_bytes, quantized_outputs
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace

BITS = {"fp32": 32, "bf16": 16, "int8": 8, "int6": 6, "int4": 4}


@pytest.fixture(params=["gated_space", "bottleneck_space"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    found: SearchSpace = request.getfixturevalue(request.param)
    return found


# -- keys ---------------------------------------------------------------------------------------------------


def test_keys_read_well(gated_space: MBConvSpace, bottleneck_space: BottleneckSpace) -> None:
    gated = gated_space.blocks(gated_space.extremes()[1])
    assert op_key(gated[0]) == "stem:conv(1>4,k3,s1,12px,w=fp32,a=fp32,hswish)"
    keys = [layer_key(layer) for layer in next(b for b in gated if b.name == "stage1.block0").layers]
    assert keys[2] == "pointwise(16>8,k1,s1,1px,w=fp32,a=fp32,relu,pooled)"
    assert keys[3] == "pointwise(8>16,k1,s1,1px,w=fp32,a=fp32,hsigmoid,gate)"
    wide = {block.name: op_key(block) for block in bottleneck_space.blocks(bottleneck_space.extremes()[1])}
    assert wide["stem.out"] == "conv+pool:conv(6>12,k3,s1,14px,w=fp32,a=fp32,relu)"
    assert wide["stage1.block0"].startswith("bottleneck+add+relu:pointwise(24>24,k1,s1,7px,w=fp32,a=fp32,relu);")
    assert wide["stage1.block0"].endswith(";pointwise(24>32,k1,s1,4px,w=fp32,a=fp32,shortcut)")


def _anonymous(layer: Layer) -> Layer:
    return replace(layer, name="", signed_input=False)


def test_layers_are_read_back_from_keys(space: SearchSpace, rng: np.random.Generator) -> None:
    for genome in space.sample(40, rng):
        for block in space.blocks(genome):
            assert layers_in(op_key(block)) == tuple(map(_anonymous, block.layers))


def test_blocks_share_a_key_exactly_when_they_are_alike(space: SearchSpace, rng: np.random.Generator) -> None:
    found: dict[str, Block] = {}
    for genome in space.sample(150, rng):
        for block in space.blocks(genome):
            alike = replace(block, name="", layers=tuple(map(_anonymous, block.layers)))
            assert found.setdefault(op_key(block), alike) == alike
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("change", [{"sum_act": "none"}, {"max_pool": True}, {"residual": False}])
def test_what_follows_a_sum_shapes_the_key(bottleneck_space: BottleneckSpace, change: dict[str, Any]) -> None:
    block = next(b for b in bottleneck_space.largest_blocks if b.kind == "bottleneck")
    assert op_key(replace(block, **change)) != op_key(block)


@pytest.mark.parametrize("change", [{"source": "pooled"}, {"source": "block"}, {"gate": True}, {"act": "hswish"}])
def test_what_a_layer_reads_and_does_shapes_its_key(change: dict[str, Any]) -> None:
    layer = Layer("x", "pointwise", 8, 8, 1, 1, 1, "int8", "int8", signed_input=True, act="relu")
    assert layer_key(replace(layer, **change)) != layer_key(layer)


def test_shapes_and_formats_that_leave_a_block(bottleneck_space: BottleneckSpace) -> None:
    blocks = bottleneck_space.largest_blocks
    for before, after in itertools.pairwise(blocks):
        if after.kind != "head":
            assert output_shape(before) == input_shape(after)
    wide = next(block for block in blocks if block.shortcut is not None)
    layers = [replace(x, weight_format="int8", activation_format="int8") for x in wide.layers]
    layers[-1] = wide.layers[-1]  # the shortcut stays in fp32
    assert handed_over(replace(wide, layers=tuple(layers))) == "int8"


# -- memory -------------------------------------------------------------------------------------------------


@dataclass
class Op:
    """Reads tensors, each first brought to some bits (None: left as it is), and writes one, or nothing anew.

    ``means`` are bytes that it reads beside them: the mean of a map, which was taken when that was made.
    """

    reads: dict[str, int | None]
    writes: str | None = None
    elements: int = 0
    bits: int = 0
    means: float = 0.0


@dataclass
class Program:
    ops: list[Op] = field(default_factory=list)

    def run(self, reads: dict[str, int | None], elements: int, bits: int, means: float = 0.0) -> str:
        name = f"tensor{len(self.ops)}"
        self.ops.append(Op(reads, name, elements, bits, means))
        return name

    def peak(self, image: int) -> float:
        """The most bytes that are alive while any op runs."""
        last = {name: i for i, op in enumerate(self.ops) for name in (op.writes, *op.reads) if name is not None}
        sizes, largest = {"image": (image, 32)}, 0.0
        for i, op in enumerate(self.ops):
            for name, asked in op.reads.items():
                sizes[name] = (sizes[name][0], asked or sizes[name][1])
            if op.writes is not None:
                sizes[op.writes] = (op.elements, op.bits)
            alive = sum(elements * bits / 8 for name, (elements, bits) in sizes.items() if last[name] >= i)
            largest = max(largest, alive + op.means)
        return largest


def _own_bits(layer: Layer) -> int:
    formats = {layer.weight_format, layer.activation_format}
    if all(one.startswith("int") for one in formats):
        return 8
    return BITS[layer.activation_format] if len(formats) == 1 else 32


def _reads_mean(layer: Layer, before: Layer | None) -> bool:
    return layer.source == "pooled" or (layer.op == "linear" and (before is None or before.op != "linear"))


def _bits(layer: Layer, reader: Layer | None) -> int:
    """The bits that a layer's output is stored in before a layer that reads it, or its mean."""
    if (
        reader is None
        or layer.gate
        or _reads_mean(reader, layer)
        or not reader.activation_format.startswith("int")
    ):
        return _own_bits(layer)
    return BITS[reader.activation_format]


def _elements(layer: Layer) -> int:
    return layer.out_channels * layer.out_size**2


def _program(blocks: tuple[Block, ...]) -> Program:
    program, x = Program(), "image"
    for block, follower in itertools.zip_longest(blocks, blocks[1:]):
        chain = [layer for layer in block.layers if layer.source != "block"]
        after = _bits(chain[-1], follower.layers[0]) if follower is not None else 32
        ends = block.residual or block.max_pool
        entry, mapped = x, ""
        for before, layer, reader in zip([None, *chain], chain, [*chain[1:], None], strict=False):
            bits = _bits(layer, reader) if reader is not None or ends else after
            if _reads_mean(layer, before):
                mapped = x
                means = layer.in_channels * BITS[layer.activation_format] / 8
                x = program.run({}, _elements(layer), bits, means)
            else:
                x = program.run({x: BITS[layer.activation_format]}, _elements(layer), bits)
            if layer.gate and reader is not None:
                elements = reader.in_channels * reader.in_size**2
                x = program.run({mapped: None, x: None}, elements, BITS[reader.activation_format])
        if block.shortcut is not None:
            extra = block.shortcut
            if block.stride > 1:
                elements = extra.in_channels * extra.in_size**2
                entry = program.run({entry: None}, elements, BITS[extra.activation_format])
            entry = program.run({entry: BITS[extra.activation_format]}, _elements(extra), _own_bits(extra))
        if block.residual:
            program.ops.append(Op({x: None, entry: None}))
        if block.max_pool:
            x = program.run({x: None}, block.tail.out_channels * block.out_size**2, after)
    program.ops.append(Op({x: None}))  # the caller reads the logits
    return program


def _folded_peak(blocks: tuple[Block, ...]) -> float:
    peak, demanded = 0.0, 32
    for block in reversed(blocks):
        peak = max(peak, peak_bytes(live_set(block), demanded))
        demanded = demanded_bits(block)
    return peak


def test_the_fold_is_the_largest_set_of_living_tensors(space: SearchSpace, rng: np.random.Generator) -> None:
    for genome in np.concatenate([space.extremes(), space.sample(300, rng)]):
        blocks = space.blocks(genome)
        first = blocks[0].layers[0]
        assert _folded_peak(blocks) == _program(blocks).peak(first.in_channels * first.in_size**2), genome


def _int8(channels: int, out: int, size: int, stride: int = 1, act: Activation = "none", **fields: Any) -> Layer:
    return Layer("x", "pointwise", channels, out, 1, stride, size, "int8", "int8", True, act, **fields)


def test_a_pooled_map_waits_for_its_gate() -> None:
    gates = (_int8(64, 8, 1, source="pooled"), _int8(8, 64, 1, act="hsigmoid", gate=True))
    block = Block("a", "mbconv", (_int8(2, 64, 4), *gates, _int8(64, 2, 4)))
    assert _folded_peak((block,)) == 64 * 16 + 64 + 64 * 16  # the map, the gate and their product


def test_a_maximum_reads_the_whole_map() -> None:
    block = Block("a", "stem", (replace(_int8(1, 4, 6), op="conv", kernel=3),), max_pool=True)
    assert _folded_peak((block,)) == 4 * 36 + 4 * 9 * 4
    assert _folded_peak((replace(block, max_pool=False),)) == 36 + 4 * 36 * 4


def test_a_shortcut_keeps_the_input_until_it_has_read_it() -> None:
    chain = (_int8(8, 2, 4), _int8(2, 2, 4, stride=2), _int8(2, 16, 2))
    block = Block("b", "bottleneck", (*chain, _int8(8, 16, 2, source="block")), residual=True)
    # While it averages: what the chain made, the block's input, the averaged input.
    assert _folded_peak((block,)) == 16 * 4 + 8 * 16 + 8 * 4


# -- modelled devices ---------------------------------------------------------------------------------------


def test_layers_write_what_the_policy_stores(space: SearchSpace, rng: np.random.Generator) -> None:
    for genome in space.sample(60, rng):
        blocks = space.blocks(genome)
        outputs = quantized_outputs(blocks)
        for block in blocks:
            works = {work.layer.name: work for work in work_of(block)}
            assert list(works) == [layer.name for layer in block.layers]
            chain = [layer for layer in block.layers if layer.source != "block"]
            for layer, reader in itertools.pairwise(chain):
                if layer.name in outputs and layer.relu:
                    assert works[layer.name].output_format == "int8"
                assert BITS[works[layer.name].output_format] == _bits(layer, reader)
            if block.shortcut is not None and block.shortcut.name in outputs:
                assert works[block.shortcut.name].output_format == "int8"


@pytest.mark.parametrize("device", [Roofline(), BitFusion()], ids=lambda device: device.name)
def test_networks_cost_what_their_layers_cost(space: SearchSpace, device: Any, rng: np.random.Generator) -> None:
    # Other numbers of genes do not matter here, and a whole table of BitFusion takes its time.
    fewer = {gene.name: gene.choices[-2:] for gene in space.genes if gene.is_policy}
    restricted = device.restrict(space.restrict(fewer if device.name == "bitfusion" else {}))
    genomes = np.concatenate([restricted.extremes(), restricted.sample(20, rng)])
    found = compile_costs(restricted, device, device.table(restricted, None, rng)).cost(genomes)
    for i, genome in enumerate(genomes):
        blocks = space.blocks(genome)
        works = [work for block in blocks for work in work_of(block)]
        assert found["latency_ms"][i] == pytest.approx(device.layer_costs(works)[:, 0].sum())
        assert found["macs"][i] == sum(x.weights * x.out_size**2 for x in space.layers(genome))
        assert found["size_bytes"][i] == sum(map(layer_bytes, space.layers(genome)))
        assert found["peak_memory_bytes"][i] == _folded_peak(blocks)


class OnlyFew(Roofline):
    """Executes some pairs of formats."""

    pairs: frozenset[tuple[str, str]]

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return self.pairs


@pytest.mark.parametrize("mixed", [("int8", "fp32"), ("fp32", "int4")])
def test_formats_that_a_gate_can_not_follow_are_left_out(
    gated_space: MBConvSpace, mixed: tuple[str, str], rng: np.random.Generator
) -> None:
    """Beside a depthwise convolution of a mixed pair a gate is in fp32."""
    device = OnlyFew()
    device.pairs = frozenset({mixed, ("int8", "int8")})
    restricted = device.restrict(gated_space)
    depthwise: dict[bool, set[str]] = {True: set(), False: set()}
    for genome in restricted.sample(200, rng):
        for block in restricted.blocks(genome):
            for layer in block.layers:
                assert (layer.weight_format, layer.activation_format) in device.pairs
                if layer.op == "depthwise" and block.name.startswith("stage"):
                    formats = f"{layer.weight_format}/{layer.activation_format}"
                    depthwise[any(one.gate for one in block.layers)].add(formats)
    assert depthwise == {True: {"int8/int8"}, False: {"int8/int8", "/".join(mixed)}}


def test_a_device_without_any_format_for_gates_says_so(gated_space: MBConvSpace) -> None:
    device = OnlyFew()
    device.pairs = frozenset({("int4", "int4")})
    wide = gated_space.restrict({"stage0.block0.kernel": [3]})
    with pytest.raises(UnsupportedError, match="no choice is left"):
        device.restrict(wide)


# -- measured devices ---------------------------------------------------------------------------------------


def _runtimes() -> list[Device]:
    has_openvino = importlib.util.find_spec("openvino") is not None
    return [HostONNXRuntime(batch=2, rounds=2), *([HostOpenVINO(batch=2, rounds=2)] if has_openvino else [])]


@pytest.mark.parametrize("device", _runtimes(), ids=lambda device: device.name)
def test_every_kind_of_part_of_a_profile_runs(space: SearchSpace, device: Any, rng: np.random.Generator) -> None:
    small = {
        gene.name: gene.choices[-1:] for gene in space.genes if gene.kind in ("resolution", "width", "kernel")
    }
    restricted = device.restrict(space.restrict(small))
    plan = list(profile_plan(restricted, unique_blocks(restricted, device), rng).values())
    for i in rng.permutation(len(plan))[:12].tolist():
        device.compile_part(random_folded(plan[i], rng), rng)()


def test_a_profile_gives_a_cost_model(space: SearchSpace, tmp_path: Path, rng: np.random.Generator) -> None:
    few = {gene.name: ("int8",) if gene.is_policy else gene.choices[:1] for gene in space.genes}
    depths = {gene.name: gene.choices for gene in space.genes if gene.kind == "depth"}
    device = HostONNXRuntime(batch=1, rounds=2)
    restricted = device.restrict(space.restrict(few | depths))
    cost = device.compile(restricted, tmp_path / "table.json", rng).cost(restricted.sample(4, rng))
    assert (cost["latency_ms"] > 0).all()
