from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.accelerator import PACKAGED, InvalidAcceleratorError, read_accelerator
from bitfront.latency_lut.analytic import Work, work_of
from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.devices.roofline import roofline
from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.layers import Layer, Op
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import quantized_outputs
from bitfront.supernet.spaces.mbconv import MBConvSpace

GOOD: dict[str, Any] = {
    "name": "mine",
    "peak_gmacs_per_s": {"fp32": 10, "int8": 40.0, "int4/int8": 50},
    "bandwidth_gb_per_s": 2,
    "overhead_us": 3,
    "mac_pj": {"fp32": 4, "int8": 1, "int4/int8": 0.5},
    "dram_pj_per_byte": 100,
    "utilisation": {"depthwise": 0.25},
}


def _file(folder: Path, changes: dict[str, Any] | None = None, without: tuple[str, ...] = ()) -> Path:
    value = {name: x for name, x in {**GOOD, **(changes or {})}.items() if name not in without}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def _layer(op: Op, channels: tuple[int, int], kernel: int, size: int, formats: tuple[str, str]) -> Layer:
    return Layer("x", op, *channels, kernel, 1, size, *formats, True, "relu")


def _cost(path: Path, layer: Layer, batch: int = 1, output_format: str = "int8") -> tuple[float, float]:
    ms, mj = roofline(path, batch).layer_costs([Work(layer, False, output_format)])[0].tolist()
    return ms, mj


def test_a_layer_with_much_to_compute_takes_its_macs(tmp_path: Path) -> None:
    layer = _layer("conv", (64, 64), 3, 32, ("int8", "int8"))
    macs, moved = 64 * 64 * 9 * 32 * 32, 64 * 64 * 9 + 64 * 8 + 2 * 64 * 32 * 32
    ms, mj = _cost(_file(tmp_path), layer)
    assert ms == pytest.approx(macs / 40e9 * 1e3 + 0.003)
    assert mj == pytest.approx((macs * 1 + moved * 100) * 1e-9)


def test_a_layer_with_many_weights_takes_its_bytes(tmp_path: Path) -> None:
    layer = _layer("linear", (4096, 1000), 1, 1, ("int4", "int8"))
    moved = 4096 * 1000 / 2 + 1000 * 8 + 4096 + 4 * 1000
    ms, mj = _cost(_file(tmp_path), layer, output_format="fp32")
    assert ms == pytest.approx(moved / 2e9 * 1e3 + 0.003)
    assert mj == pytest.approx((4096 * 1000 * 0.5 + moved * 100) * 1e-9)


def test_a_batch_shares_the_weights_and_the_overhead(tmp_path: Path) -> None:
    layer = _layer("linear", (4096, 1000), 1, 1, ("int8", "int8"))
    moved = 4096 * 1000 + 1000 * 8 + 8 * (4096 + 1000)
    assert _cost(_file(tmp_path), layer, batch=8)[0] == pytest.approx(moved / 2e9 * 1e3 + 0.003)


def test_an_operator_may_reach_a_part_of_the_peak(tmp_path: Path) -> None:
    layer = _layer("depthwise", (64, 64), 7, 32, ("fp32", "fp32"))
    part, full = _cost(_file(tmp_path), layer)[0], _cost(_file(tmp_path, without=("utilisation",)), layer)[0]
    assert part == pytest.approx(64 * 49 * 32 * 32 / 2.5e9 * 1e3 + 0.003)
    assert full < part


layers = st.builds(
    lambda op, c_in, c_out, kernel, size, formats: _layer(
        op, (c_in, c_in if op == "depthwise" else c_out), kernel, size, formats
    ),
    st.sampled_from(["conv", "pointwise", "depthwise"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 60),
    st.sampled_from(sorted(read_accelerator().peak_gmacs_per_s)),
)


@given(layers, st.integers(1, 16))
def test_the_packaged_accelerator_keeps_to_the_roofline(layer: Layer, batch: int) -> None:
    given, device = read_accelerator(), roofline(batch=batch)
    (ms, mj), (_, double_mj) = device.layer_costs(
        [Work(layer, False, "int8"), Work(replace(layer, out_channels=2 * layer.out_channels), False, "int8")]
    )
    peak = given.peak_gmacs_per_s[layer.weight_format, layer.activation_format] * 1e9
    peak *= given.utilisation.get(layer.op, 1.0)
    busy = (ms - given.overhead_us * 1e-3) * 1e-3
    assert busy * peak >= batch * layer.macs * (1 - 1e-9)
    least = batch * (layer.in_channels * layer.in_size**2) * FORMATS.get(layer.activation_format).storage_bits / 8
    assert busy * given.bandwidth_gb_per_s * 1e9 >= least * (1 - 1e-9)
    assert 0 < mj < double_mj


def test_a_file_is_executed_as_far_as_it_has_peaks(tmp_path: Path) -> None:
    device = roofline(_file(tmp_path))
    assert device.executable("conv") == {("fp32", "fp32"), ("int8", "int8"), ("int4", "int8")}
    assert json.loads(json.dumps(device.provenance()))["accelerator"] == {
        **GOOD,
        "peak_gmacs_per_s": {"fp32/fp32": 10, "int8/int8": 40, "int4/int8": 50},
        "mac_pj": {"fp32/fp32": 4, "int8/int8": 1, "int4/int8": 0.5},
    }


def test_energies_that_a_file_leaves_out_are_the_packaged_ones(tmp_path: Path) -> None:
    read, packaged = read_accelerator(_file(tmp_path, without=("mac_pj", "dram_pj_per_byte"))), read_accelerator()
    assert (read.mac_pj, read.dram_pj_per_byte) == (packaged.mac_pj, packaged.dram_pj_per_byte)
    assert read.peak_gmacs_per_s != packaged.peak_gmacs_per_s


def test_the_packaged_energies_are_those_of_the_literature() -> None:
    bits = {"int8": 8, "int6": 6, "int4": 4}
    mac_pj = dict(read_accelerator().mac_pj)
    for weight, activation in mac_pj:
        if activation in bits:
            expected = 0.2 * bits[weight] * bits[activation] / 64 + 0.1
        else:
            expected = {"fp32": 3.7, "bf16": 1.1}[activation] + 0.9
        assert mac_pj[weight, activation] == pytest.approx(expected)
    assert len(mac_pj) == 9 + 2 + 6
    assert read_accelerator().dram_pj_per_byte * 8 == pytest.approx((1300 + 2600) / 2)


# -- descriptions that are wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bandwith_gb_per_s": 3}, "'bandwith_gb_per_s' is no field: did you mean 'bandwidth_gb_per_s'"),
        ({"bandwidth_gb_per_s": 0}, "bandwidth_gb_per_s is 0: give a number above 0"),
        ({"bandwidth_gb_per_s": "fast"}, "bandwidth_gb_per_s is 'fast': give a number above 0"),
        ({"bandwidth_gb_per_s": True}, "bandwidth_gb_per_s is True: give a number"),
        ({"bandwidth_gb_per_s": float("inf")}, "bandwidth_gb_per_s is inf"),
        ({"overhead_us": -1}, "overhead_us is -1: give a number of at least 0"),
        ({"dram_pj_per_byte": float("nan")}, "dram_pj_per_byte is nan"),
        ({"name": 3}, "name is 3: give it as text"),
        ({"peak_gmacs_per_s": {}}, "peak_gmacs_per_s is {}: give a number for each name, such as {int8: 256}"),
        ({"peak_gmacs_per_s": 5}, "peak_gmacs_per_s is 5"),
        ({"peak_gmacs_per_s": {"int9": 5}}, "peak_gmacs_per_s.int9: unknown format 'int9': did you mean 'int"),
        ({"peak_gmacs_per_s": {"int8/": 5}}, "peak_gmacs_per_s.int8/: unknown format ''"),
        ({"peak_gmacs_per_s": {"int8": -5}}, "peak_gmacs_per_s.int8 is -5: give a number above 0"),
        ({"peak_gmacs_per_s": {"int8": 5, "int8/int8": 6}}, "int8/int8 says again"),
        ({"peak_gmacs_per_s": {"int4": 5}}, "mac_pj lacks int4/int4, which has a peak"),
        ({"utilisation": {"depthwse": 0.5}}, "unknown operator 'depthwse': did you mean 'depthwise'"),
        ({"utilisation": {"conv": 1.5}}, "utilisation.conv is 1.5: give a number above 0 and at most 1"),
        ({"utilisation": [1]}, "utilisation is [1]"),
        ({"mac_pj": {"int8": None}}, "mac_pj.int8 is None: give a number of at least 0"),
    ],
)
def test_wrong_fields_are_named_with_value_and_rule(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidAcceleratorError, match=re.escape(words)) as error:
        roofline(_file(tmp_path, changes))
    assert str(tmp_path) in str(error.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = _file(tmp_path, {"overhead_us": "x", "speed": 1, "utilisation": {"conv": 0}}, without=("name",))
    with pytest.raises(InvalidAcceleratorError) as error:
        roofline(path)
    lines = str(error.value).splitlines()[1:]
    assert [line.split()[1] for line in lines] == ["'speed'", "name", "overhead_us", "utilisation.conv"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds None"),
        ("- 1", "holds [1]"),
        ("name: [", "is no valid YAML"),
        ("name: a\nname: b", "'name' is given twice"),
        ("!!python/object/apply:os.system ['true']", "is no valid YAML"),
        ("{[1]: 2}", "is no valid YAML"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InvalidAcceleratorError, match=re.escape(words)):
        roofline(path)


def test_files_that_can_not_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.yaml"):
        roofline(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises((InvalidAcceleratorError, CorruptFileError)):
        roofline(tmp_path / "binary.yaml")


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": True}, {"batch": 1.5}, {"file": 3}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(options))):
        roofline(**options)


# -- what a block writes --------------------------------------------------------------------------------


def test_layers_write_what_the_policy_stores(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    for genome in tiny_space.sample(60, rng):
        blocks = tiny_space.blocks(genome)
        stored = quantized_outputs(blocks)
        for block in blocks:
            works = work_of(block)
            assert [work.layer for work in works] == list(block.layers)
            for work, after in itertools.pairwise(works):
                asked = after.layer.activation_format
                is_asked = FORMATS.get(asked).is_integer and after.layer.op != "linear"
                expected = asked if is_asked else "int8" if work.layer.name in stored else None
                assert work.output_format == (expected or _float_format(work.layer))
            assert works[-1].output_format in ("fp32", "int8")


def _float_format(layer: Layer) -> str:
    return layer.activation_format if layer.weight_format == layer.activation_format else "fp32"


def test_fewer_bits_pay_in_bytes_and_in_macs(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    device = roofline()
    space = device.restrict(tiny_space)
    costs = compile_costs(space, device, device.table(space, None, rng)).cost(space.sample(300, rng))
    for name in ("latency_ms", "energy_mj"):
        assert np.corrcoef(costs[name], costs["macs"])[0, 1] > 0.3
    assert np.corrcoef(costs["energy_mj"], costs["bitops"])[0, 1] > 0.3


# -- the documentation ----------------------------------------------------------------------------------


def test_the_example_in_the_documentation_runs(
    tmp_path: Path, tiny_space: MBConvSpace, rng: np.random.Generator
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    examples = re.findall(r"```yaml\n(# my-accelerator\.yaml\n.*?)```", page, re.DOTALL)
    assert len(examples) == 1
    assert len(examples[0].splitlines()) <= 10
    path = tmp_path / "my-accelerator.yaml"
    path.write_text(examples[0])
    device = roofline(str(path))
    space = device.restrict(tiny_space)
    costs = compile_costs(space, device, device.table(space, None, rng)).cost(space.sample(20, rng))
    assert (costs["latency_ms"] > 0).all()


def test_the_packaged_file_says_how_to_use_it() -> None:
    assert "options: {file: " in PACKAGED.read_text()
