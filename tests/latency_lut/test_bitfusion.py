from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.latency_lut.analytic import Work
from bitfront.latency_lut.bitfusion_cycles import simulate
from bitfront.latency_lut.bitfusion_tiles import Convolution, fusion
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.layers import Layer
from bitfront.supernet.spaces.digits import digits

# Rows of the authors' simulator, batch 16: AlexNet's second to fourth convolution and two linear layers.
EXACT = [
    (Convolution(5, 27, 1, 96, 256, 4, 4), 5_018_849, 1_249, 671_219_712),
    (Convolution(3, 13, 1, 512, 384, 4, 4), 3_248_129, 538_625, 469_499_904),
    (Convolution(3, 13, 1, 384, 384, 4, 4), 2_436_097, 403_969, 352_124_928),
    (Convolution(1, 1, 1, 8192, 8192, 4, 4), 1_575_596, 1_051_308, 285_736_960),
    (Convolution(1, 1, 1, 8192, 1000, 8, 8), 398_679, 136_535, 72_351_744),
]


@pytest.mark.parametrize(("convolution", "cycles", "stalls", "dram_reads"), EXACT)
def test_the_released_simulator_is_met_exactly(
    convolution: Convolution, cycles: int, stalls: int, dram_reads: int
) -> None:
    cost = simulate([convolution], batch=16)
    assert (cost.cycles[0], cost.stall_cycles[0], cost.dram_read_bits[0]) == (cycles, stalls, dram_reads)


def test_convolutions_do_not_disturb_each_other() -> None:
    cost = simulate([row[0] for row in EXACT], batch=16)
    assert cost.cycles.tolist() == [row[1] for row in EXACT]
    assert cost.stall_cycles.tolist() == [row[2] for row in EXACT]
    assert cost.dram_read_bits.tolist() == [row[3] for row in EXACT]


# -- the same model, one schedule at a time -------------------------------------------------------------

BUFFERS = {"weights": 64 * 8192, "activations": 32 * 8192, "outputs": 16 * 8192}
INDEXED = {"weights": ("IC", "OC"), "activations": ("B", "OW", "OH", "IC"), "outputs": ("B", "OW", "OH", "OC")}


def _tiles(full: int, step: int = 1) -> Iterator[int]:
    size = step
    while size < full:
        yield size
        size *= 2
    yield full


def _schedule(c: Convolution, tile: dict[str, int], full: dict[str, int], order: Any) -> tuple[Any, ...] | None:
    b, o, ic, oc = tile["B"], tile["OW"], tile["IC"], tile["OC"]
    lanes = 16 * (8 // max(c.activation_bits, 2)) * (8 // max(c.weight_bits, 2))
    counts = {loop: math.ceil(full[loop] / tile[loop]) for loop in full}
    unrolled = c.kernel**2 * ic
    bits = {
        "weights": math.ceil(unrolled / lanes) * lanes * oc * c.weight_bits,
        "activations": (o * o * unrolled if c.from_image else (c.kernel + (o - 1) * c.stride) ** 2 * ic)
        * b * c.activation_bits,
        "outputs": o * o * math.ceil(oc / 32) * 32 * b * 32,
    }  # fmt: skip
    if any(bits[name] > BUFFERS[name] / 2 for name in bits):
        return None
    held, promoted = dict(bits), dict.fromkeys(bits, True)
    for loop in reversed(order):
        for name in bits:
            if not promoted[name]:
                bits[name] *= counts[loop]
            elif loop in INDEXED[name]:
                bits[name] *= counts[loop]
                if bits[name] > BUFFERS[name] / 2:
                    promoted[name] = False
                else:
                    held[name] = bits[name]
    tiles = math.prod(counts.values())
    steps = math.ceil(unrolled / lanes) if c.from_image else c.kernel**2 * math.ceil(ic / lanes)
    compute = tiles * b * o * o * math.ceil(oc / 32) * steps
    reads, writes = sum(bits.values()), bits["outputs"]
    load, store = sum(held.values()), held["outputs"]
    stalls = max(0, math.ceil((reads + writes - load - store) / 192) - compute)
    stalls += math.ceil(load / 192) + math.ceil(store / 192)
    energy = _energy(c, b * o * o, ic, oc, lanes, tiles, bits) + compute * 0.2351
    return compute + stalls, energy, stalls, reads, writes


def _energy(c: Convolution, places: int, ic: int, oc: int, lanes: int, tiles: int, bits: dict[str, int]) -> float:
    w, a, depth = c.weight_bits, c.activation_bits, c.kernel**2 * ic
    out = math.ceil(oc / 32) * 32
    inp = math.ceil((depth if c.from_image else ic) / lanes) * lanes * (1 if c.from_image else c.kernel**2)
    every = depth * places * oc
    # (padded bits moved, reads of weights, of activations, of partial sums) for each stationary operand.
    ways = [
        (inp * places * (a + out * (w + 32)), every, depth * places, every),
        (out * places * (32 + inp * (a + w)), every, every, places * oc),
        (inp * out * (w + places * (a + 32)), depth * oc, every, every),
    ]
    _, weights, activations, sums = min(ways, key=lambda way: way[0])
    picojoule = tiles * weights * w * 0.0214 + bits["weights"] * 0.0289
    picojoule += tiles * activations * a * 0.0595 + bits["activations"] * 0.1137
    picojoule += (tiles * sums * 32 + bits["outputs"]) * (0.0332 + 0.0731)
    picojoule += (sum(bits.values()) + bits["outputs"]) * 15
    return picojoule * 1e-3


def _every(c: Convolution, batch: int) -> list[tuple[Any, ...]]:
    full = {"B": batch, "OW": c.out_size, "OH": c.out_size, "IC": c.in_channels, "OC": c.out_channels}
    sizes = itertools.product(
        _tiles(batch), _tiles(c.out_size), _tiles(c.in_channels), _tiles(c.out_channels, 1 if c.from_image else 32)
    )
    found = []
    for b, o, ic, oc in sizes:
        tile = {"B": b, "OW": o, "OH": o, "IC": ic, "OC": min(oc, c.out_channels)}
        found += [_schedule(c, tile, full, order) for order in itertools.permutations(full)]
    return [one for one in found if one is not None]


convolutions = st.builds(
    Convolution,
    kernel=st.sampled_from([1, 3, 5, 7]),
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
    schedules, cost = _every(convolution, batch), simulate([convolution], batch)
    cycles, energy, *_ = min(schedules)
    assert (cost.cycles[0], cost.energy_nj[0]) == (cycles, pytest.approx(energy, rel=1e-12))
    best = {one[2:] for one in schedules if one[0] == cycles and one[1] == pytest.approx(energy, rel=1e-12)}
    assert (cost.stall_cycles[0], cost.dram_read_bits[0], cost.dram_write_bits[0]) in best


@pytest.mark.parametrize(
    ("weight", "activation", "products"),
    [
        (8, 8, 1),
        (4, 4, 4),
        (4, 8, 2),
        (8, 4, 2),
        (2, 2, 16),
        (1, 1, 16),
        (6, 6, 1),
        (5, 7, 1),
        (3, 3, 4),
        (3, 8, 2),
    ],
)
def test_fewer_bits_are_fused_into_more_products(weight: int, activation: int, products: int) -> None:
    assert fusion(weight, activation) == products


def test_a_kernel_beyond_the_buffers_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"no tile of Convolution\(kernel=99.*smaller kernel"):
        simulate([Convolution(1, 4, 1, 4, 4, 8, 8), Convolution(99, 4, 1, 4, 4, 8, 8)])


# -- the device ------------------------------------------------------------------------------------------


def _costs(layer: Layer, batch: int = 1, reads_image: bool = False) -> tuple[float, float]:
    latency, energy = bitfusion(batch=batch).layer_costs([Work(layer, reads_image, "int8")])[0].tolist()
    return latency, energy


def _layer(op: Any, channels: tuple[int, int], kernel: int = 1, size: int = 14, bits: str = "int8") -> Layer:
    return Layer("x", op, *channels, kernel, 1, size, bits, bits, True, "relu")


def test_units_are_milliseconds_at_500_mhz_and_millijoules_of_one_call() -> None:
    layer = _layer("pointwise", (96, 64))
    convolution = Convolution(1, 14, 1, 96, 64, 8, 8)
    for batch in (1, 4):
        cost = simulate([convolution], batch)
        latency, energy = _costs(layer, batch)
        assert latency == pytest.approx(cost.cycles[0] / 500e6 * 1e3)
        assert energy == pytest.approx(cost.energy_nj[0] * 1e-6)


def test_a_linear_layer_is_a_convolution_of_one_pixel() -> None:
    layer = Layer("x", "linear", 512, 100, 1, 1, 1, "int4", "int8", False, "none")
    assert _costs(layer)[0] == pytest.approx(simulate([Convolution(1, 1, 1, 512, 100, 4, 8)]).cycles[0] * 2e-6)


@pytest.mark.parametrize(("bits", "width", "groups"), [("int8", 8, 6), ("int4", 32, 2), ("int6", 8, 6)])
def test_a_depthwise_layer_runs_as_groups_of_dense_convolutions(bits: str, width: int, groups: int) -> None:
    storage = int(bits[3:])
    one = simulate([Convolution(3, 14, 1, width, width, storage, storage)])
    latency, energy = _costs(_layer("depthwise", (48, 48), 3, bits=bits))
    assert latency == pytest.approx(groups * one.cycles[0] * 2e-6)
    assert energy == pytest.approx(groups * one.energy_nj[0] * 1e-6)


def test_only_the_first_layer_is_unrolled_by_the_host() -> None:
    layer = _layer("conv", (3, 16), 3)
    unrolled = simulate([Convolution(3, 14, 1, 3, 16, 8, 8, from_image=True)])
    assert _costs(layer, reads_image=True)[0] == pytest.approx(unrolled.cycles[0] * 2e-6)
    assert _costs(layer, reads_image=True) != _costs(layer)


def test_bits_pay_where_computing_is_the_bottleneck() -> None:
    layer = Layer("x", "conv", 256, 256, 3, 1, 28, "int8", "int8", True, "relu")
    int8, int6, int4 = (
        _costs(replace(layer, weight_format=bits, activation_format=bits)) for bits in ("int8", "int6", "int4")
    )
    assert int8[0] / int4[0] == pytest.approx(3.98, abs=0.01)  # as docs/devices.md says
    assert int8[0] == pytest.approx(int6[0], rel=0.05)
    assert int8[1] > int6[1] > int4[1]


def test_layers_are_bound_by_what_takes_longer() -> None:
    dense = Layer("x", "conv", 256, 256, 3, 1, 28, "int8", "int8", True, "relu")
    classifier = Layer("x", "linear", 8192, 8192, 1, 1, 1, "int4", "int4", False, "none")
    works = [Work(dense, False, "int8"), Work(classifier, False, "fp32")]
    device = bitfusion(batch=16)
    assert device.dram_bound(works).tolist() == [False, True]
    assert device.stall_shares(works)[0] < 0.05
    assert device.stall_shares(works)[1] == pytest.approx(1_051_308 / 1_575_596)


@settings(max_examples=40)
@given(st.lists(convolutions, min_size=1, max_size=4))
def test_cycles_are_those_of_computing_or_of_moving(several: list[Convolution]) -> None:
    cost = simulate(several)
    compute = cost.cycles - cost.stall_cycles
    moving = (cost.dram_read_bits + cost.dram_write_bits) / 192
    assert (cost.cycles >= np.maximum(compute, moving)).all()
    assert cost.dram_bound.tolist() == (np.ceil(moving) > compute).tolist()
    assert ((cost.stall_share > 0) & (cost.stall_share < 1)).all()
    # What is not hidden behind computing is stalled for.
    assert (cost.stall_cycles >= moving - compute).all()


def test_the_figures_in_the_documentation_come_from_its_script(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    script = re.search(r"```python\n(.*?NETWORKS = 100.*?)```", page, re.DOTALL)
    assert script
    exec(compile(script[1].replace("NETWORKS = 100", "NETWORKS = 4"), "docs/devices.md", "exec"), {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    ratios = {(words[0], words[1]): float(words[2]) for words in printed if len(words) == 3}
    assert len(printed) == 12
    for profile in ("released", "apq"):
        assert 1 <= ratios[profile, "digits"] < 1.2
        assert ratios[profile, "mobilenet_v2"] > 1.5


@pytest.mark.parametrize("batch", [0, -1, 2.0, True, "8"])
def test_a_batch_is_a_whole_number_from_one(batch: Any) -> None:
    with pytest.raises(UnsupportedError, match="batch"):
        bitfusion(batch=batch)


def test_a_block_costs_the_sum_of_its_layers(tmp_path: Path) -> None:
    device = bitfusion()
    space = device.restrict(digits().restrict({"resolution": [12], "stage0.depth": [1], "stage2.depth": [1]}))
    seen: list[tuple[int, int]] = []
    table = device.table(
        space, tmp_path / "t.json", np.random.default_rng(0), lambda done, all_: seen.append((done, all_))
    )
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert Table.load(tmp_path / "t.json", "bitfusion", space.hash()) == table
    blocks = unique_blocks(space, device)
    assert table.entries.keys() == blocks.keys()
    for key in list(blocks)[:: len(blocks) // 40]:
        works = [Work(layer, blocks[key].kind == "stem", "int8") for layer in blocks[key].layers]
        parts = np.sum([device.layer_costs([work])[0] for work in works], axis=0)
        assert list(table.entries[key].values()) == pytest.approx(parts.tolist(), rel=1e-12)
