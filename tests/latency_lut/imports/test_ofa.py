from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.imports.ofa import read
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.errors import MissingFileError, UnknownNameError
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

Tables = dict[int, dict[str, Any]]
IN_EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

FRAME = MBConvConfig(
    in_channels=3,
    classes=10,
    stem_channels=8,
    stem_stride=2,
    stages=(
        StageConfig(out_channels=4, stride=2, depths=(1, 2), widths=(8, 12), kernels=(3, 5)),
        StageConfig(out_channels=6, stride=2, depths=(1, 2), widths=(12, 16), kernels=(3,)),
    ),
    head_channels=20,
    resolutions=(28, 32),  # 28, 14, 7, 4 and 32, 16, 8, 4: they share what comes last
    weight_formats=("fp32", "int8"),
    activation_formats=("fp32", "int8"),
    end_formats=("fp32", "int8"),
)
SHARED = "expanded_conv-input:4x4x6-output:4x4x6-expand:12-kernel:3-stride:1-idskip:1-se:0-hs:0"
FIRST = "expanded_conv-input:8x8x4-output:4x4x6-expand:12-kernel:3-stride:2-idskip:0-se:0-hs:0"


def _space(**frame: Any) -> MBConvSpace:
    return MBConvSpace("small", replace(FRAME, **frame))


# -- Once-for-All's estimator: the keys that it adds up for a network --------------------------------------


def _mbconv(
    size: int, channels: tuple[int, int, int], kernel: int, stride: int, skip: bool, more: str = "se:0-hs:0"
) -> tuple[str, int]:
    before, hidden, after = channels
    out = int((size - 1) / stride + 1)
    key = (
        f"expanded_conv-input:{size}x{size}x{before}-output:{out}x{out}x{after}-expand:{hidden}-kernel:{kernel}-"
        f"stride:{stride}-idskip:{int(skip)}-{more}"
    )
    return key, out


def _keys(space: MBConvSpace, genome: NDArray[np.uint8]) -> Iterator[str]:
    frame, choices = space.frame, space.decode(genome)
    image = int(choices["resolution"])
    size = int((image - 1) / frame.stem_stride + 1)
    channels = frame.stem_channels
    yield f"Conv-input:{image}x{image}x3-output:{size}x{size}x{channels}"
    if frame.first_block_channels is not None:
        key, size = _mbconv(
            size, (channels, channels, frame.first_block_channels), 3, 1, bool(frame.first_block_residual)
        )
        channels = frame.first_block_channels
        yield key
    for s, stage in enumerate(frame.stages):
        more = f"se:{int(bool(stage.se))}-hs:{int(stage.act == 'hswish')}"
        for b in range(int(choices[f"stage{s}.depth"])):
            width, kernel = (int(choices[f"stage{s}.block{b}.{gene}"]) for gene in ("width", "kernel"))
            shape = (channels, width, stage.out_channels)
            key, size = _mbconv(size, shape, kernel, stage.stride if b == 0 else 1, b > 0, more)
            channels = stage.out_channels
            yield key
    yield f"Conv_1-input:{size}x{size}x{channels}-output:{size}x{size}x{frame.head_channels}"
    yield f"AvgPool2D-input:{size}x{size}x{frame.head_channels}-output:1x1x{frame.head_channels}"
    last = frame.hidden_channels or frame.head_channels
    if frame.hidden_channels is not None:
        yield f"Conv_2-input:1x1x{frame.head_channels}-output:1x1x{last}"
    yield f"Logits-input:1x1x{last}-output:{frame.classes}"


def _tables(space: MBConvSpace) -> Tables:
    """A table per resolution; what two of them have in common is equal."""
    genomes = space.sample(2000, np.random.default_rng(0))
    keys: dict[int, set[str]] = {}
    for genome in genomes:
        keys.setdefault(int(space.decode(genome)["resolution"]), set()).update(_keys(space, genome))
    names = sorted(set.union(*keys.values()))
    means = dict(zip(names, np.random.default_rng(1).uniform(0.1, 2, len(names)).tolist(), strict=True))
    return {
        resolution: {key: {"count": 30, "mean": means[key], "std": means[key] / 10} for key in sorted(known)}
        for resolution, known in keys.items()
    }


def _written(folder: Path, tables: Tables) -> Path:
    folder.mkdir(exist_ok=True)
    for resolution, rows in tables.items():
        (folder / f"{resolution}_lookup_table.yaml").write_text(yaml.safe_dump(rows))
    return folder


def _device(path: Path, space: MBConvSpace, folder: Path) -> ImportedDevice:
    saved = folder / "imported.json"
    imported_table(read(path, space), space, "phone").save(saved)
    return ImportedDevice(str(saved))


# -- what comes out ------------------------------------------------------------------------------------------


LIKE_MOBILENET_V3 = {
    "stages": (replace(FRAME.stages[0], se=True), replace(FRAME.stages[1], act="hswish")),
    "first_block_channels": 8,
    "first_block_residual": True,
    "hidden_channels": 24,
    "stem_act": "hswish",
    "head_act": "hswish",
}


@pytest.mark.parametrize("frame", [{}, {"first_block_channels": 6}, {"stem_stride": 1}, LIKE_MOBILENET_V3])
def test_a_network_costs_what_the_tables_own_estimator_says(frame: dict[str, Any], tmp_path: Path) -> None:
    space = _space(**frame)
    tables = _tables(space)
    device = _device(_written(tmp_path / "tables", tables), space, tmp_path)
    restricted = device.restrict(space)
    genomes = restricted.sample(200, np.random.default_rng(2))
    sums = [
        sum(tables[int(space.decode(genome)["resolution"])][key]["mean"] for key in _keys(space, genome))
        for genome in genomes
    ]
    assert device.compile(space).cost(genomes)["latency_ms"] == pytest.approx(sums, rel=1e-6)
    assert len(np.unique(np.round(sums, 9))) > 50
    assert {layer.weight_format for genome in genomes for layer in space.layers(genome)} == {"fp32"}
    assert set(restricted.allowed_choices("resolution")) == {28, 32}


def test_the_registered_importer_reads_fp32(tmp_path: Path) -> None:
    space = _space()
    path = _written(tmp_path / "tables", _tables(space))
    assert IMPORTERS.get("ofa")(path, space) == read(path, space, "fp32")


def test_one_file_restricts_the_space_to_its_resolution(tmp_path: Path) -> None:
    space = _space()
    tables = _tables(space)
    path = _written(tmp_path / "tables", tables) / "28_lookup_table.yaml"
    device = _device(path, space, tmp_path)
    assert device.restrict(space).allowed_choices("resolution") == (28,)
    assert read(path, space).ignored == 0


def test_another_format_gives_the_same_costs_to_its_blocks(tmp_path: Path) -> None:
    space = _space()
    path = _written(tmp_path / "tables", _tables(space))
    whole, quantized = read(path, space), read(path, space, "int8")
    assert len(quantized.entries) == len(whole.entries)
    assert sorted(row["latency_ms"] for row in quantized.entries.values()) == sorted(
        row["latency_ms"] for row in whole.entries.values()
    )
    assert all("fp32" not in key for key in quantized.entries)
    assert quantized.provenance["number_format"] == "int8"


def test_a_block_that_two_resolutions_share_has_the_mean_of_all_its_calls(tmp_path: Path) -> None:
    space = _space()
    tables = _tables(space)
    tables[28][SHARED] = {"count": 10, "mean": 4.0, "std": 0.5}
    tables[32][SHARED] = {"count": 30, "mean": 2.0, "std": 0.25}
    imported = read(_written(tmp_path / "tables", tables), space)
    (key,) = (key for key, row in imported.entries.items() if row["latency_ms"] == pytest.approx(2.5))
    block = next(block for block in every_block(space) if op_key(block) == key)
    assert (block.name, block.layers[0].out_channels) == ("stage1.block1", 12)
    assert imported.details[key]["rows"] == [
        {"file": "28_lookup_table.yaml", "key": SHARED, "count": 10.0, "mean_ms": 4.0, "std_ms": 0.5},
        {"file": "32_lookup_table.yaml", "key": SHARED, "count": 30.0, "mean_ms": 2.0, "std_ms": 0.25},
    ]


def test_details_tell_the_rows_behind_every_entry(tmp_path: Path) -> None:
    space = _space(resolutions=(32,))
    tables = _tables(space)
    imported = read(_written(tmp_path / "tables", tables), space)
    assert imported.details.keys() == imported.entries.keys()
    used = [row for details in imported.details.values() for row in details["rows"]]
    assert sorted(row["key"] for row in used) == sorted(tables[32])
    for row in used:
        raw = tables[32][row["key"]]
        assert (row["count"], row["mean_ms"], row["std_ms"]) == (raw["count"], raw["mean"], raw["std"])
    for key, details in imported.details.items():
        total = sum(row["mean_ms"] for row in details["rows"])
        assert imported.entries[key]["latency_ms"] == pytest.approx(total, rel=1e-12)


def test_rows_that_the_space_has_no_use_for_are_counted(tmp_path: Path) -> None:
    space = _space()
    tables = _tables(space)
    row = {"count": 1, "mean": 1.0, "std": 0}
    for ending in ("se:1-hs:0", "se:0-hs:1", "se:1-hs:1"):
        tables[32][FIRST.replace("se:0-hs:0", ending)] = row
    tables[32]["Conv_2-input:1x1x20-output:1x1x40"] = row
    tables[28][FIRST] = row  # 28 pixels never come to 8
    tables[28]["expanded_conv-input:8x7x4-output:4x4x6-expand:12-kernel:3-stride:2-idskip:0-se:0-hs:0"] = row
    imported = read(_written(tmp_path / "tables", tables), space)
    assert imported.ignored == 6
    assert imported.entries == read(_written(tmp_path / "plain", _tables(space)), space).entries


@IN_EXAMPLES
@given(lost=st.sets(st.integers(0, 10_000), max_size=4))
def test_a_block_without_its_rows_has_no_entry(lost: set[int], tmp_path: Path) -> None:
    space = _space(resolutions=(32,))
    tables = _tables(space)
    whole = read(_written(tmp_path / "whole", tables), space)
    searched = [key for key in tables[32] if key.startswith("expanded_conv") and "expand:12" in key]
    gone = {searched[i % len(searched)] for i in lost}
    left = {32: {key: row for key, row in tables[32].items() if key not in gone}}
    covered_anyway = read(_written(tmp_path / "left", left), space)
    assert covered_anyway.entries == {
        key: row
        for key, row in whole.entries.items()
        if gone.isdisjoint(one["key"] for one in whole.details[key]["rows"])
    }


# -- the classifier behind another convolution --------------------------------------------------------------

DIRECT = "Logits-input:1x1x20-output:10"


def _head_ms(space: MBConvSpace, tables: Tables, folder: Path) -> float:
    entries = read(_written(folder, tables), space).entries
    return next(row["latency_ms"] for key, row in entries.items() if key.startswith("head"))


def test_a_classifier_that_only_another_convolution_reaches_takes_it_along(tmp_path: Path) -> None:
    space = _space(resolutions=(32,))
    tables = _tables(space)
    plain = _head_ms(space, tables, tmp_path / "tables")
    rows = {
        "Conv_2-input:1x1x20-output:1x1x48": {"count": 9, "mean": 0.5, "std": 0.1},
        "Conv_2-input:1x1x20-output:1x1x64": {"count": 9, "mean": 3.0, "std": 0.1},
        "Logits-input:1x1x48-output:10": {"count": 9, "mean": 0.25, "std": 0.1},
    }
    both = {32: tables[32] | rows}
    assert _head_ms(space, both, tmp_path / "tables") == plain
    only = {32: {key: row for key, row in both[32].items() if key != DIRECT}}
    expected = plain - tables[32][DIRECT]["mean"] + 0.75
    assert _head_ms(space, only, tmp_path / "tables") == pytest.approx(expected, rel=1e-12)


def test_a_classifier_that_two_convolutions_reach_is_not_guessed(tmp_path: Path) -> None:
    space = _space(resolutions=(32,))
    rows = {key: row for key, row in _tables(space)[32].items() if key != DIRECT}
    for hidden in (48, 64):
        rows |= {f"Conv_2-input:1x1x20-output:1x1x{hidden}": rows[FIRST]}
        rows |= {f"Logits-input:1x1x{hidden}-output:10": rows[FIRST]}
    with pytest.raises(InvalidTableError, match="1 bad row, the first: slot 'head'"):
        read(_written(tmp_path / "tables", {32: rows}), space)


# -- tables that are refused --------------------------------------------------------------------------------


def _with(key: object, row: object) -> Callable[[dict[str, Any]], object]:
    return lambda rows: rows | {key: row}


def _changed(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda rows: rows | {FIRST: rows[FIRST] | fields}


ROW = {"count": 1, "mean": 1.0, "std": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed(mean=float("nan")), r"1 bad row, the first: 32_lookup_table\.yaml: expanded.*: mean is nan"),
        (_changed(mean=float("inf")), "mean is inf"),
        (_changed(mean=-0.5), "mean is -0.5"),
        (_changed(mean="fast"), "mean is 'fast'"),
        (_changed(mean=None), "mean is None"),
        (_changed(std=-1), "std is -1"),
        (_changed(count=0), "count is 0"),
        (_changed(count=True), "count is True"),
        (_changed(mean_us=1), "unknown field 'mean_us'"),
        (lambda rows: rows | {FIRST: {"count": 1, "mean": 1.0}}, "no std"),
        (_with(FIRST, 1.5), "hs:0 is 1.5"),
        (_with(7, ROW), "key 7"),
        (_with("Conv_3-input:4x4x4-output:4x4x4", ROW), "key 'Conv_3"),
        (_with("Conv_1-input:4x4-output:4x4x4", ROW), "key 'Conv_1"),
        (_with("Conv_1-input:04x4x4-output:4x4x4", ROW), "key 'Conv_1"),
        (_with(FIRST.removesuffix("-se:0-hs:0"), ROW), "key 'expanded_conv.*idskip:0'"),
        (lambda rows: {key: row for key, row in rows.items() if not key.startswith("Conv-")}, "no 'Conv' row"),
        (lambda rows: [rows], "holds a list"),
        (lambda rows: None, "holds a NoneType"),
    ],
)
def test_a_bad_row_is_named(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    space = _space()
    tables = _tables(space)
    path = _written(tmp_path / "tables", {28: tables[28], 32: change(tables[32])})  # type: ignore[dict-item]
    with pytest.raises(InvalidTableError, match=message) as error:
        read(path, space)
    assert "import them again" in str(error.value)


def test_offenders_of_all_files_are_counted_and_five_are_listed(tmp_path: Path) -> None:
    space = _space()
    tables = {r: {key: row | {"mean": -1} for key, row in rows.items()} for r, rows in _tables(space).items()}
    count = sum(map(len, tables.values()))
    with pytest.raises(InvalidTableError, match=rf"{count} bad rows, the first: 28_lookup.*nothing was") as error:
        read(_written(tmp_path / "tables", tables), space)
    assert str(error.value).count("mean is -1") == 5


def test_keys_that_come_twice_are_refused(tmp_path: Path) -> None:
    space = _space()
    file = _written(tmp_path / "tables", _tables(space)) / "32_lookup_table.yaml"
    text = file.read_text()
    file.write_text(text + f"{FIRST}: {{count: 1, mean: 1.0, std: 0.0}}\n")
    with pytest.raises(InvalidTableError, match=f"1 bad row.*{FIRST} comes twice"):
        read(file.parent, space)
    file.write_text(text + "Conv_2-input:1x1x20-output:1x1x40: {count: 1, mean: 1.0, std: 0.0, mean: 2.0}\n")
    with pytest.raises(InvalidTableError, match="mean comes twice"):
        read(file, space)


def test_files_of_one_resolution_may_not_share_a_key(tmp_path: Path) -> None:
    space = _space()
    tables = _tables(space)
    folder = _written(tmp_path / "tables", tables)
    (folder / "other.yml").write_text(yaml.safe_dump(tables[32]))
    with pytest.raises(InvalidTableError, match=rf"{len(tables[32])} bad rows, .*is in 32_lookup_table\.yaml too"):
        read(folder, space)


@pytest.mark.parametrize(
    "data",
    [
        b"a: [",
        b"\xff\xfe\xff",
        b"a: !!python/object:os.system {}",
        b"a: !!int ''",
        b"a: !!timestamp x",
        b"[" * 20_000,
    ],
)
def test_what_is_no_yaml_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_bytes(data)
    with pytest.raises(InvalidTableError, match="is no valid YAML"):
        read(path, _space())


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"table\.yaml is missing"):
        read(tmp_path / "table.yaml", _space())
    with pytest.raises(MissingFileError, match=r"no file that ends in \.yaml or \.yml"):
        read(tmp_path, _space())


def test_a_slot_without_any_block_is_named(tmp_path: Path) -> None:
    space = _space()
    tables = {
        resolution: {key: row for key, row in rows.items() if "x4-output" not in key or "stride:1" not in key}
        for resolution, rows in _tables(space).items()
    }
    with pytest.raises(InvalidTableError, match=r"slot 'stage0\.block1'\. Each slot.*resolutions \(28, 32\)"):
        read(_written(tmp_path / "tables", tables), space)


def test_a_table_of_other_resolutions_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path / "tables", _tables(_space(resolutions=(24,))))
    with pytest.raises(InvalidTableError, match=r"6 bad rows, the first: slot 'stem'.*resolutions \(24\)"):
        read(path, _space())


def test_a_format_that_the_space_lacks_is_refused(tmp_path: Path) -> None:
    space = _space()
    path = _written(tmp_path / "tables", _tables(space))
    with pytest.raises(InvalidTableError, match=r"space 'small' has no such network.*give the number_format"):
        read(path, space, "bf16")
    with pytest.raises(InvalidTableError, match="space 'small' has no such network"):
        read(path, space.restrict({"stem.weight_format": ["int8"]}))
    with pytest.raises(UnknownNameError, match=r"did you mean 'fp32'"):
        read(path, space, "fp23")


def test_a_space_of_bottlenecks_has_no_rows(tmp_path: Path) -> None:
    """Its head is a mere classifier, which the tables do not have either."""
    path = _written(tmp_path, _tables(_space()))
    with pytest.raises(InvalidTableError, match=r"slot 'stem'(?s:.*)Each slot of the space needs a block"):
        read(path, SPACES.get("resnet50_cifar")())
