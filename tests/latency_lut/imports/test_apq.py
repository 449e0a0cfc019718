from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.imports.base import ImportedTable
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.op_key import layer_key, op_key
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.genes import Choice
from bitfront.supernet.layers import Layer
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.proxyless import proxyless

Rows = dict[str, dict[str, float]]
IN_EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

read = IMPORTERS.get("apq")


def _device(imported: ImportedTable, space: SearchSpace, folder: Path) -> ImportedDevice:
    saved = folder / "imported.json"
    imported_table(imported, space, "accelerator").save(saved)
    return ImportedDevice(str(saved))


# -- the published table, from the file to the cost of a network --------------------------------------------


@pytest.fixture(scope="module")
def published(published_apq_table: Path) -> ImportedTable:
    return read(published_apq_table, proxyless())


@pytest.fixture(scope="module")
def compiled(published: ImportedTable, tmp_path_factory: pytest.TempPathFactory) -> CostModel:
    space = proxyless()
    return _device(published, space, tmp_path_factory.mktemp("published")).compile(space)


def _network(space: MBConvSpace, depth: int, expand: int, kernel: int, bits: str) -> NDArray[np.uint8]:
    choices: dict[str, Choice] = {f"stage{s}.depth": depth for s in range(5)}
    for place in space.places:
        if place.index < depth:
            choices |= {f"{place.name}.width": expand * place.in_channels, f"{place.name}.kernel": kernel}
    genome = space.assign(space.genome(choices)[None], {"weight_format": bits, "activation_format": bits})
    checked: NDArray[np.uint8] = space.check(genome)[0]
    return checked


@pytest.mark.parametrize(
    ("depth", "expand", "kernel", "bits", "latency_ms", "energy_mj"),
    [
        (4, 6, 3, "int8", 12.8612, 17.5816),
        (4, 6, 3, "int6", 12.6561, 16.6651),
        (4, 6, 3, "int4", 7.3790, 12.8530),
        (2, 4, 3, "int8", 4.6653, 6.6440),
        (2, 4, 3, "int4", 2.9591, 5.1071),
        (4, 6, 7, "int8", 46.7923, 40.6846),
    ],
)
def test_totals_of_the_published_table(
    compiled: CostModel, depth: int, expand: int, kernel: int, bits: str, latency_ms: float, energy_mj: float
) -> None:
    cost = compiled.cost(_network(proxyless(), depth, expand, kernel, bits)[None])
    assert cost["latency_ms"][0] == pytest.approx(latency_ms, abs=1e-4)
    assert cost["energy_mj"][0] == pytest.approx(energy_mj, abs=1e-4)


def test_mixed_policies_cost_the_sum_of_their_published_rows(
    compiled: CostModel, published_apq_table: Path
) -> None:
    space, rows = proxyless(), json.loads(published_apq_table.read_text())
    genomes = space.sample(50, np.random.default_rng(0))
    found = compiled.cost(genomes)
    for name, cost in (("latency", "latency_ms"), ("energy", "energy_mj")):
        sums = [
            rows["head"][name]
            + rows["tail"][name]
            + sum(rows[_row_key(layer)][name] for layer in _searched(genome))
            for genome in genomes
        ]
        assert found[cost] == pytest.approx(sums, rel=1e-6)


def _searched(genome: NDArray[np.uint8]) -> Iterator[Layer]:
    for block in proxyless().blocks(genome)[1:-1]:
        yield from block.layers


def test_every_row_of_the_published_table_is_used(published: ImportedTable) -> None:
    assert (len(published.entries), published.ignored) == (6569, 0)
    assert published.costs == ("latency_ms", "energy_mj")


def test_gaps_of_the_published_table_restrict_a_space_without_rules(
    published_apq_table: Path, tmp_path: Path
) -> None:
    free = MBConvSpace("free", proxyless().frame)
    restricted = _device(read(published_apq_table, free), free, tmp_path).restrict(free)
    assert free.size() > restricted.size() == proxyless().size()


# -- small tables --------------------------------------------------------------------------------------------


def _space(
    resolutions: tuple[int, ...] = (8,), formats: tuple[str, ...] = ("fp32", "int8", "int4")
) -> MBConvSpace:
    stage = StageConfig(out_channels=6, stride=2, depths=(1, 2), widths=(8, 12), kernels=(3, 5))
    ends = tuple(one for one in formats if one != "int4")
    return MBConvSpace("small", MBConvConfig(3, 10, 4, 2, (stage,), 16, resolutions, formats, formats, ends))


def _row_key(layer: Layer) -> str:
    groups = layer.in_channels if layer.op == "depthwise" else 1
    return (
        f"({layer.in_channels}, {layer.out_channels}, {layer.in_size}, {layer.kernel}, {layer.stride}, "
        f"{(layer.kernel - 1) // 2}, {groups})-W{layer.weight_format[3:]}A{layer.activation_format[3:]}"
    )


def _searched_layers(space: MBConvSpace) -> dict[str, Layer]:
    """By our key, the layers of the space's blocks whose weights and activations are both integers."""
    return {
        layer_key(layer): layer
        for block in every_block(space)
        if block.kind == "mbconv"
        for layer in block.layers
        if "fp32" not in (layer.weight_format, layer.activation_format)
    }


def _rows(space: MBConvSpace) -> Rows:
    names = ["head", "tail", *dict.fromkeys(map(_row_key, _searched_layers(space).values()))]
    costs = np.random.default_rng(1).uniform(0.1, 2.0, (len(names), 2)).tolist()
    return {name: {"latency": a, "energy": b} for name, (a, b) in zip(names, costs, strict=True)}


def _written(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def _all_int8(space: MBConvSpace) -> NDArray[np.uint8]:
    deepest = space.assign(space.extremes()[1:], {"weight_format": "int8", "activation_format": "int8"})
    one: NDArray[np.uint8] = deepest[0]
    return one


@IN_EXAMPLES
@given(lost=st.sets(st.integers(0, 10_000), max_size=30))
def test_entries_are_the_rows_of_the_layers_that_have_one(lost: set[int], tmp_path: Path) -> None:
    space = _space()
    rows, layers = _rows(space), _searched_layers(space)
    kept = {_row_key(layer) for block in space.blocks(_all_int8(space)) for layer in block.layers}
    for i in lost:
        # A table without any block for a slot would be refused.
        if (name := list(rows)[2 + i % (len(rows) - 2)]) not in kept:
            rows.pop(name)
    imported = read(_written(tmp_path / "table.dict", rows), space)
    found = {key: row for key, row in imported.entries.items() if ":" not in key}
    assert found == {
        key: {"latency_ms": row["latency"], "energy_mj": row["energy"]}
        for key, layer in layers.items()
        if (row := rows.get(_row_key(layer))) is not None
    }
    assert imported.ignored == 0


def test_what_it_costs_is_the_sum_of_the_rows(tmp_path: Path) -> None:
    space = _space()
    rows = _rows(space)
    device = _device(read(_written(tmp_path / "table.dict", rows), space), space, tmp_path)
    restricted = device.restrict(space)
    genomes = restricted.sample(100, np.random.default_rng(0))
    cost = device.compile(space).cost(genomes)
    for genome, latency_ms, energy_mj in zip(genomes, cost["latency_ms"], cost["energy_mj"], strict=True):
        names = ["head", "tail"]
        for block in space.blocks(genome)[1:-1]:
            names += map(_row_key, block.layers)
        assert latency_ms == pytest.approx(sum(rows[name]["latency"] for name in names), rel=1e-6)
        assert energy_mj == pytest.approx(sum(rows[name]["energy"] for name in names), rel=1e-6)


def test_ends_stand_for_stem_and_head_in_eight_bits_only(tmp_path: Path) -> None:
    space = _space()
    rows = _rows(space)
    imported = read(_written(tmp_path / "table.dict", rows), space)
    for kind, name in (("stem", "head"), ("head", "tail")):
        blocks = [block for block in every_block(space) if block.kind == kind]
        found = [op_key(block) for block in blocks if op_key(block) in imported.entries]
        eight = [op_key(block) for block in blocks if all(_is_eight_bits(layer) for layer in block.layers)]
        assert len(blocks) > len(found) == 1
        assert found == eight
        assert imported.entries[found[0]]["energy_mj"] == rows[name]["energy"]


def _is_eight_bits(layer: Layer) -> bool:
    return layer.weight_format == layer.activation_format == "int8"


def test_rows_that_the_space_has_no_use_for_are_counted(tmp_path: Path) -> None:
    space = _space()
    rows = _rows(space)
    foreign = {f"(1000, 24, {size}, 1, 1, 0, 1)-W8A8": {"latency": 1.0, "energy": 1} for size in (4, 8, 16)}
    imported = read(_written(tmp_path / "table.dict", rows | foreign), space)
    assert imported.ignored == 3
    assert imported.entries == read(_written(tmp_path / "table.dict", rows), space).entries


def test_where_it_comes_from_is_kept(tmp_path: Path) -> None:
    space = _space()
    one = read(_written(tmp_path / "table.dict", _rows(space)), space).provenance
    other = read(_written(tmp_path / "table.dict", _rows(space) | {"head": {"latency": 9, "energy": 9}}), space)
    assert one["format"] == "apq"
    assert one["sha256"].keys() == {"table.dict"}
    assert one != other.provenance


# -- tables that are refused --------------------------------------------------------------------------------


def _first(rows: Rows) -> str:
    return next(key for key in rows if key.startswith("("))


def _with(key: str, value: object) -> Callable[[Rows], object]:
    return lambda rows: rows | {key: value}


def _changed(**fields: object) -> Callable[[Rows], object]:
    return lambda rows: rows | {_first(rows): rows[_first(rows)] | fields}


def _without(name: str) -> Callable[[Rows], object]:
    return lambda rows: {key: row for key, row in rows.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed(latency=float("nan")), "1 bad row, the first: .*-W8A8: latency is nan"),
        (_changed(latency=float("inf")), "latency is inf"),
        (_changed(energy=-1e-9), "energy is -1e-09"),
        (_changed(energy="0.5"), "energy is '0.5'"),
        (_changed(energy=None), "energy is None"),
        (_changed(latency=True), "latency is True"),
        (_changed(latency=10**400), "latency is 1000"),
        (_changed(latency_us=3), "unknown field 'latency_us'"),
        (lambda rows: rows | {_first(rows): {"energy": 1.0}}, "no latency"),
        (lambda rows: rows | {_first(rows): {"latency": 1.0}}, "no energy"),
        (_with("tail", [1.0, 2.0]), r"tail is \[1.0, 2.0\]"),
        (_without("head"), "no 'head'"),
        (_without("tail"), "no 'tail'"),
        (_with("middle", {"latency": 1.0, "energy": 1.0}), "key 'middle'"),
        (_with("(4,8,4,1,1,0,1)-W8A8", {"latency": 1.0, "energy": 1.0}), r"key '\(4,8,4,1,1,0,1\)-W8A8'"),
        (_with("(4, 8, 4, 1, 1, 0)-W8A8", {"latency": 1.0, "energy": 1.0}), r"key '\(4, 8, 4, 1, 1, 0\)-W8A8'"),
        (_with("(04, 8, 4, 1, 1, 0, 1)-W8A8", {"latency": 1.0, "energy": 1.0}), r"key '\(04"),
        (lambda rows: [rows], "holds a list"),
    ],
)
def test_a_bad_row_is_named(change: Callable[[Rows], object], message: str, tmp_path: Path) -> None:
    space = _space()
    with pytest.raises(InvalidTableError, match=message) as error:
        read(_written(tmp_path / "table.dict", change(_rows(space))), space)
    assert "table.dict" in str(error.value)
    assert "import it again" in str(error.value)


def test_all_offenders_are_counted_and_five_are_listed(tmp_path: Path) -> None:
    space = _space()
    rows = {
        key: {"latency": -1.0, "energy": 1.0} if key.endswith("W4A4") else row for key, row in _rows(space).items()
    }
    bad = sum(key.endswith("W4A4") for key in rows)
    assert bad > 5
    del rows["tail"]
    with pytest.raises(InvalidTableError, match=rf"{bad + 1} bad rows.*\(nothing was imported\)") as error:
        read(_written(tmp_path / "table.dict", rows), space)
    assert str(error.value).count("latency is -1.0") == 4
    assert "no 'tail'" in str(error.value)


def test_keys_that_come_twice_are_refused(tmp_path: Path) -> None:
    space, path = _space(), tmp_path / "table.dict"
    text = json.dumps(_rows(space))
    path.write_text(text[:-1] + ', "head": {"latency": 1, "energy": 1}}')
    with pytest.raises(InvalidTableError, match="head comes twice"):
        read(path, space)
    path.write_text(re.sub(r'"head": \{', '"head": {"energy": 7, ', text))
    with pytest.raises(InvalidTableError, match="energy comes twice"):
        read(path, space)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"head": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.dict"
    path.write_bytes(data)
    with pytest.raises(InvalidTableError, match="is not valid JSON"):
        read(path, _space())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"table\.dict is missing"):
        read(tmp_path / "table.dict", _space())


def test_a_slot_without_any_block_is_named(tmp_path: Path) -> None:
    space = _space()
    second = next(layer for layer in _searched_layers(space).values() if layer.name == "stage0.block1.expand")
    gone = f"({second.in_channels}, "
    rows = {key: row for key, row in _rows(space).items() if not key.startswith(gone)}
    with pytest.raises(InvalidTableError, match=r"1 bad row, the first: slot 'stage0\.block1'\. Each slot"):
        read(_written(tmp_path / "table.dict", rows), space)
    only = space.restrict({"stage0.depth": [1]})
    assert read(_written(tmp_path / "table.dict", rows), only).entries


def test_a_space_without_eight_bit_ends_is_refused(tmp_path: Path) -> None:
    space = _space()
    other = space.restrict({"stem.weight_format": ["fp32"], "head.activation_format": ["fp32"]})
    with pytest.raises(InvalidTableError, match="2 bad rows, the first: slot 'stem'; slot 'head'"):
        read(_written(tmp_path / "table.dict", _rows(space)), other)


def test_ends_that_could_be_of_any_resolution_are_refused(tmp_path: Path) -> None:
    space = _space(resolutions=(8, 12))
    path = _written(tmp_path / "table.dict", _rows(space))
    with pytest.raises(
        InvalidTableError, match=r"one 'head', but it could stand for 2 blocks.*restrict the space"
    ):
        read(path, space)
    assert read(path, space.restrict({"resolution": [12]})).entries
