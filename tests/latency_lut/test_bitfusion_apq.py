from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.latency_lut.analytic import Work, work_of
from bitfront.latency_lut.bitfusion_apq import AS_IN_APQ
from bitfront.latency_lut.bitfusion_cycles import fitting, simulate
from bitfront.latency_lut.bitfusion_tiles import Convolution
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.layers import Block, Layer, Op
from bitfront.supernet.spaces.digits import digits

DEVICE = bitfusion(profile="apq")
IMAGE = Work(
    Layer("x", "conv", 3, 32, 3, 2, 224, "int8", "int8", True, "relu"), reads_image=True, output_format="int8"
)


def _work(key: str) -> Work:
    """The layer that a key of the published table names: (c_in, c_out, size, kernel, stride, padding, groups)."""
    found = re.fullmatch(r"\(([\d, ]+)\)-W(\d)A(\d)", key)
    assert found, key
    c_in, c_out, size, kernel, stride, padding, groups = map(int, found[1].split(","))
    assert padding == kernel // 2
    assert groups in (1, c_in)
    op: Op = "pointwise" if groups == 1 else "depthwise"
    bits = f"int{found[2]}", f"int{found[3]}"
    return Work(
        Layer("x", op, c_in, c_out, kernel, stride, size, *bits, True, "relu"),
        reads_image=False,
        output_format="int8",
    )


# Cycles and energy in mJ as published.
ENTRIES = [
    ("(96, 464, 14, 1, 1, 0, 1)-W4A4", 31_636, 0.108684390992096),
    ("(464, 192, 7, 1, 1, 0, 1)-W8A6", 10_015, 0.035179195155074),
    ("(400, 80, 14, 1, 1, 0, 1)-W6A4", 12_372, 0.045822689967216),
    ("(1032, 320, 7, 1, 1, 0, 1)-W8A6", 35_019, 0.13492457587683596),
    ("(384, 192, 7, 1, 1, 0, 1)-W4A6", 6_436, 0.023455959299312),
    ("(16, 96, 112, 1, 1, 0, 1)-W8A8", 409_835, 1.3833757631826078),
    ("(784, 784, 7, 5, 1, 2, 784)-W4A4", 59_075, 0.1252811717416),
    ("(112, 112, 56, 7, 2, 3, 112)-W8A8", 540_946, 1.108841839830592),
    ("(184, 184, 28, 5, 1, 2, 184)-W6A6", 455_538, 0.6120987365214761),
    ("(72, 72, 112, 3, 2, 1, 72)-W6A4", 142_045, 0.45409234054488),
    ("(320, 1280, 7, 1, 1, 0, 1)-W8A8", 40_804, 0.15180756309769594),  # its "tail"
]


def _cycles_and_mj(works: list[Work]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    costs = np.concatenate([DEVICE.layer_costs(works[i : i + 256]) for i in range(0, len(works), 256)])
    cycles = costs[:, 0] * 500e6 / 1e3
    assert cycles == pytest.approx(np.rint(cycles), abs=1e-3)
    return np.rint(cycles).astype(int), costs[:, 1]


@pytest.mark.parametrize(("key", "cycles", "energy_mj"), ENTRIES)
def test_entries_of_the_published_table_are_met(key: str, cycles: int, energy_mj: float) -> None:
    found = _cycles_and_mj([_work(key)])
    assert found[0].tolist() == [cycles]
    assert found[1].tolist() == [pytest.approx(energy_mj, rel=1e-12)]


def test_the_head_of_the_published_table_is_an_unrolled_first_layer() -> None:
    found = _cycles_and_mj([IMAGE])
    assert found[0].tolist() == [147_952]
    assert found[1].tolist() == [pytest.approx(0.5061844841862639, rel=1e-12)]


def test_every_entry_of_the_published_table_is_met(published_apq_table: Path) -> None:
    table = json.loads(published_apq_table.read_text())
    keys = [key for key in table if key.startswith("(")]
    assert len(keys) == 6567
    cycles, energy_mj = _cycles_and_mj([_work(key) for key in keys])
    published = np.array([(table[key]["latency"] * 500e3, table[key]["energy"]) for key in keys])
    assert np.array_equal(cycles, np.rint(published[:, 0]))
    assert energy_mj == pytest.approx(published[:, 1], rel=1e-12)


def test_what_the_published_table_leaves_out_fits_no_buffer(published_apq_table: Path) -> None:
    table = json.loads(published_apq_table.read_text())
    shapes = {key.split("-W")[0] for key in table if key.startswith("(")}
    keys = [f"{shape}-W{w}A{a}" for shape in shapes for w, a in itertools.product((4, 6, 8), (4, 6, 8))]
    covered = {key for key in keys if DEVICE.covers(Block("x", "mbconv", (_work(key).layer,)))}
    assert len(covered) < len(keys)
    assert covered == {key for key in keys if key in table}


def test_layers_without_a_fitting_tile_are_not_covered() -> None:
    large, small = _work("(72, 72, 56, 7, 1, 3, 72)-W8A4"), _work("(72, 72, 56, 7, 1, 3, 72)-W8A6")
    assert DEVICE.covers(Block("x", "mbconv", (small.layer,)))
    assert not DEVICE.covers(Block("x", "mbconv", (small.layer, large.layer)))
    assert bitfusion().covers(Block("x", "mbconv", (small.layer, large.layer)))
    with pytest.raises(UnsupportedError, match="smaller kernel"):
        DEVICE.layer_costs([small, large])


def _layer(op: Op, channels: tuple[int, int], kernel: int, size: int, formats: tuple[str, str]) -> Layer:
    given = channels[0], channels[op != "depthwise"]
    return Layer("x", op, *given, kernel, 1, size, *formats, True, "relu")


layers = st.builds(
    _layer,
    st.sampled_from(["conv", "depthwise"]),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.integers(1, 12),
    st.sampled_from(sorted(DEVICE.executable("conv"))),
)


@settings(max_examples=60)
@given(layers, st.sampled_from(["apq", "released"]), st.sampled_from(["stem", "mbconv"]))
def test_what_is_covered_has_costs_and_what_is_not_has_none(
    layer: Layer, profile: str, kind: Literal["stem", "mbconv"]
) -> None:
    device, block = bitfusion(profile=profile), Block("x", kind, (layer,))
    if device.covers(block):
        assert (device.layer_costs(work_of(block)) > 0).all()
    else:
        with pytest.raises(UnsupportedError, match="no tile"):
            device.layer_costs(work_of(block))


def test_a_space_loses_what_fits_no_buffer() -> None:
    space = DEVICE.restrict(digits())
    seen = set()
    for genome in space.sample(200, np.random.default_rng(0)):
        for layer in space.layers(genome):
            if layer.op == "depthwise":
                seen.add((layer.kernel, layer.activation_format))
    assert {activation for kernel, activation in seen if kernel == 7} == {"int8", "int6"}
    assert {activation for kernel, activation in seen if kernel == 5} == {"int8", "int6", "int4"}


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'released'.*apq, released"):
        bitfusion(profile="release")
    assert DEVICE.provenance()["profile"] == "apq"
    assert DEVICE.provenance() != bitfusion().provenance()


# -- the same model, one schedule at a time -------------------------------------------------------------

HALF = {"weights": 32 * 8192, "activations": 16 * 8192, "outputs": 8 * 8192}
INDEXED = {"weights": "IC OC", "activations": "B OW OH IC", "outputs": "B OW OH OC"}


def _up(value: int, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def _sizes(full: int, step: int = 1) -> Iterator[int]:
    size = step
    while size < full:
        yield size
        size *= 2
    yield full


def _schedule(c: Convolution, tile: dict[str, int], full: dict[str, int], order: Any) -> tuple[int, float] | None:
    b, o, ic, oc = tile["B"], tile["OW"], tile["IC"], tile["OC"]
    w, a, k = c.weight_bits, c.activation_bits, c.kernel
    lanes = 16 * (8 // max(a, 2)) * (8 // max(w, 2))
    width = {1: 2, 2: 2, 3: 4, 4: 4}
    side = o if c.from_image else k + (o - 1) * c.stride
    unrolled = _up(k * k * ic, lanes) if c.from_image else k * k * _up(ic, lanes)
    held_inputs = unrolled if c.from_image else _up(ic, lanes)
    takes = {
        "weights": unrolled * _up(oc, 32) * width.get(w, 8),
        "activations": side * side * held_inputs * b * width.get(a, 8),
        "outputs": o * o * _up(oc, 32) * b * 32,
    }
    if any(takes[name] > HALF[name] for name in takes):
        return None
    bits = {
        "weights": k * k * ic * oc * w,
        "activations": (o * o * k * k if c.from_image else side * side) * ic * b * a,
        "outputs": o * o * oc * b * 32,
    }
    counts = {loop: math.ceil(full[loop] / tile[loop]) for loop in full}
    first, held = dict(bits), dict.fromkeys(bits, True)
    for loop in reversed(order):
        for name in bits:
            if not held[name] or loop in INDEXED[name].split():
                bits[name] *= counts[loop]
                takes[name] *= counts[loop]
            held[name] = held[name] and takes[name] <= HALF[name]
            if held[name]:
                first[name] = bits[name]
    tiles, steps = math.prod(counts.values()), unrolled // lanes
    compute = tiles * b * o * o * math.ceil(oc / 32) * steps
    ends = math.ceil(sum(first.values()) / 192) + math.ceil(first["outputs"] / 192)
    moving = math.ceil(sum(bits.values()) / 192) + math.ceil(bits["outputs"] / 192)
    cycles = max(compute + ends, moving)
    return cycles, _energy_nj(c, bits, compute, cycles, (tiles, b * o * o, k * k * ic, oc, steps))


def _energy_nj(
    c: Convolution, bits: dict[str, int], compute: int, cycles: int, tile: tuple[int, int, int, int, int]
) -> float:
    tiles, places, depth, oc, steps = tile
    dram = sum(bits.values()) + bits["outputs"]
    buffers = (
        bits["weights"] * 0.02891615625 + bits["activations"] * 0.1137040625 + bits["outputs"] * 0.09250146875
    )
    shared = depth * places * math.ceil(oc / 32) * c.activation_bits * 0.059474375
    weights, sums = depth * oc * c.weight_bits * 0.02136565625, places * oc * 32 * 0.09250146875
    array = shared + min(weights * places + sums, weights + sums * steps)
    return compute * 0.4766518 + cycles * 0.433014704 + dram * 15e-3 + (buffers + tiles * array) * 1e-3


def _every(c: Convolution, batch: int) -> list[tuple[int, float]]:
    full = {"B": batch, "OW": c.out_size, "OH": c.out_size, "IC": c.in_channels, "OC": c.out_channels}
    step = 1 if c.from_image else 32
    sizes = (_sizes(batch), _sizes(c.out_size), _sizes(c.in_channels), _sizes(c.out_channels, step))
    found = []
    for b, o, ic, oc in itertools.product(*sizes):
        tile = {"B": b, "OW": o, "OH": o, "IC": ic, "OC": oc}
        found += [_schedule(c, tile, full, order) for order in itertools.permutations(full)]
    return [one for one in found if one is not None]


convolutions = st.builds(
    Convolution,
    kernel=st.sampled_from([1, 1, 3, 5, 7]),
    out_size=st.integers(1, 20),
    stride=st.integers(1, 2),
    in_channels=st.integers(1, 130),
    out_channels=st.integers(1, 130),
    weight_bits=st.integers(2, 8),
    activation_bits=st.integers(2, 8),
    from_image=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(convolutions, st.sampled_from([1, 1, 3]))
def test_the_search_equals_a_loop_over_all_schedules(convolution: Convolution, batch: int) -> None:
    schedules = _every(convolution, batch)
    assert fitting([convolution], batch, AS_IN_APQ).tolist() == [bool(schedules)]
    if schedules:
        cost = simulate([convolution], batch, AS_IN_APQ)
        cycles, energy_nj = min(schedules)
        assert (cost.cycles[0], cost.energy_nj[0]) == (cycles, pytest.approx(energy_nj, rel=1e-12))
