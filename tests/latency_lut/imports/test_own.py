from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bitfront.latency_lut.bundle.profile import COLUMNS, summary
from bitfront.latency_lut.derive import derive
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.latency_lut.imports.own import write_csv, write_parquet
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.op_key import border_key, layer_key, op_key
from bitfront.latency_lut.profile_plan import profile_plan
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.spaces.mbconv import MBConvSpace

WRITERS: dict[str, Callable[[Table, Path], None]] = {"csv": write_csv, "parquet": write_parquet}
FORMATS = pytest.mark.parametrize("form", list(WRITERS))


@pytest.fixture(scope="module")
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    """Of two formats, as every key of the space is listed for every file."""
    formats = {gene.name: ("int8", "int4") for gene in tiny_space.genes if gene.is_policy and "block" in gene.name}
    return tiny_space.restrict({"resolution": [8], **formats})


@pytest.fixture(scope="module")
def table(space: MBConvSpace) -> Table:
    made = bitfusion().table(bitfusion().restrict(space), None, np.random.default_rng(0))
    borders = {border_key(6, 4, "int8", "int4"): {"latency_ms": 0.1, "energy_mj": 1 / 3}}
    correction = {"latency_ms": Correction(0.25, 1.1)}
    return replace(made, borders=borders, correction=correction, provenance={"who": "a test", "threads": 3})


@FORMATS
def test_a_round_trip_is_exact(space: MBConvSpace, table: Table, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{form}"
    WRITERS[form](table, path)
    back = imported_table(IMPORTERS.get(form)(path, space), space, "phone")
    assert back.entries == table.entries
    assert back.borders == table.borders
    assert back.correction == table.correction
    assert back.costs == table.costs
    assert back.provenance == {**table.provenance, "device": "bitfusion", "space_hash": space.hash()}
    assert list(tmp_path.iterdir()) == [path]


@FORMATS
def test_the_device_costs_what_the_original_did(
    space: MBConvSpace, table: Table, form: str, tmp_path: Path
) -> None:
    WRITERS[form](table, tmp_path / "table")
    imported_table(IMPORTERS.get(form)(tmp_path / "table", space), space, "phone").save(tmp_path / "phone.json")
    device = ImportedDevice(str(tmp_path / "phone.json"))
    assert device.name == "phone"
    plain = replace(table, borders={}, correction={}).entries
    genomes = device.restrict(space).sample(30, np.random.default_rng(0))
    costs = device.compile(space).cost(genomes)
    for genome, energy in zip(genomes, costs["energy_mj"], strict=True):
        blocks = space.blocks(genome)
        crossed = sum(
            table.borders.get(border_key(b.layers[0].in_channels, b.layers[0].in_size, "int8", "int4"), {}).get(
                "energy_mj", 0.0
            )
            for a, b in itertools.pairwise(blocks)
            if b.layers[0].activation_format == "int4"
        )
        assert energy == pytest.approx(sum(plain[op_key(block)]["energy_mj"] for block in blocks) + crossed)


def test_raw_calls_become_costs(space: MBConvSpace, tmp_path: Path) -> None:
    """What a bundle's script writes; the times are made up, and every block takes 1 ms more alone."""
    blocks = unique_blocks(bitfusion().restrict(space), bitfusion())
    plan = profile_plan(bitfusion().restrict(space), blocks, np.random.default_rng(0))
    times = {
        key: summary([sum(layer.macs for b in chain for layer in b.layers) * 1e-5 + 1.0] * 7)
        for key, chain in plan.items()
    }
    lines = ["# threads: 1", ",".join(COLUMNS)]
    lines += [f'call,"{key}",{",".join(map(repr, one[:-1]))},{one.rounds}' for key, one in times.items()]
    path = tmp_path / "results.csv"
    path.write_text("\n".join(lines) + "\n")
    table = imported_table(IMPORTERS.get("csv")(path, space), space, "phone")
    found = derive(times, plan)
    assert table.entries == {key: {"latency_ms": cost} for key, cost in found.entries.items()}
    assert table.correction == {"latency_ms": found.correction}
    assert table.provenance["threads"] == 1
    assert table.provenance["correction_error"] == pytest.approx(0, abs=1e-3)
    assert table.details[next(iter(times))]["rounds"] == 7


def rows(space: MBConvSpace) -> pd.DataFrame:
    keys = list(unique_blocks(bitfusion().restrict(space), bitfusion()))
    return pd.DataFrame({"kind": "block", "key": keys, "latency_ms": 1.5, "energy_mj": 2.5})


def changed(frame: pd.DataFrame, column: str, value: Any, n: int = 1) -> pd.DataFrame:
    frame = frame.astype(object)
    frame.loc[frame.index[:n], column] = value
    return frame


BAD: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda f: changed(f, "latency_ms", -1.0, 7), r"7 bad rows, the first: .*latency_ms is -1\.0.*at least 0"),
    (lambda f: changed(f, "latency_ms", float("nan")), "1 bad row, .*latency_ms is nan"),
    (lambda f: changed(f, "energy_mj", float("inf")), "1 bad row, .*energy_mj is inf"),
    (lambda f: changed(f, "latency_ms", "fast"), "1 bad row, .*latency_ms is nan"),
    (lambda f: pd.concat([f, f[:3]]), "3 bad rows, the first: block stem:.* comes twice"),
    (lambda f: f.rename(columns={"latency_ms": "latency_us"}), "column 'latency_us' is in 'us', not in 'ms'"),
    (lambda f: f.rename(columns={"energy_mj": "energy_j"}), "column 'energy_j' is in 'j', not in 'mj'"),
    (lambda f: f.assign(speed=1), "column 'speed'.*Known columns"),
    (lambda f: f.drop(columns=["key"]), "no column 'key'"),
    (lambda f: f.drop(columns=["latency_ms", "energy_mj"]), "neither of latency_ms and energy_mj"),
    (lambda f: changed(f, "kind", "blok"), r"row 0: kind 'blok'.*block, layer, border, call"),
    (lambda f: changed(f, "key", "stem:conv(3>9,k3)", 1), r"block stem:conv\(3>9,k3\).*another space"),
    (lambda f: f[:0], "has no rows"),
]


@FORMATS
@pytest.mark.parametrize(("spoil", "words"), BAD)
def test_bad_tables_are_refused_whole(
    space: MBConvSpace, form: str, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: str, tmp_path: Path
) -> None:
    frame, path = spoil(rows(space)), tmp_path / "bad"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        mixed = frame.map(lambda value: value if isinstance(value, str) else float(value)) if len(frame) else frame
        if any(mixed[name].map(type).nunique() > 1 for name in mixed.columns if len(mixed)):
            pytest.skip("a parquet column has one type")
        frame.to_parquet(path, index=False)
    with pytest.raises(InvalidTableError, match=words):
        IMPORTERS.get(form)(path, space)


def test_another_space_is_named(space: MBConvSpace, table: Table, tmp_path: Path) -> None:
    write_csv(replace(table, space_hash="cafe" * 16), tmp_path / "t.csv")
    with pytest.raises(InvalidTableError, match="hash cafecafecafe, but 'tiny' has"):
        IMPORTERS.get("csv")(tmp_path / "t.csv", space)


def test_provenance_must_be_json(space: MBConvSpace, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# threads: two\nkind,key,latency_ms\n")
    with pytest.raises(InvalidTableError, match=r"# threads: two.*JSON"):
        IMPORTERS.get("csv")(tmp_path / "t.csv", space)


@pytest.mark.parametrize("content", ["", "# a: 1\n", "kind,key\n1,2,3,4\n5\n"])
def test_no_csv(space: MBConvSpace, content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InvalidTableError):
        IMPORTERS.get("csv")(tmp_path / "t.csv", space)


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", json.dumps({}).encode()])
def test_no_parquet(space: MBConvSpace, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(InvalidTableError, match="no parquet file"):
        IMPORTERS.get("parquet")(tmp_path / "t.parquet", space)


@FORMATS
def test_a_missing_file_is_named(space: MBConvSpace, form: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        IMPORTERS.get(form)(tmp_path / "nowhere", space)


def test_layers_will_do(space: MBConvSpace, tmp_path: Path) -> None:
    blocks = unique_blocks(bitfusion().restrict(space), bitfusion()).values()
    keys = sorted({layer_key(layer) for block in blocks for layer in block.layers})
    frame = pd.DataFrame({"kind": "layer", "key": keys, "latency_ms": np.arange(len(keys)) / 4})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = imported_table(IMPORTERS.get("csv")(tmp_path / "t.csv", space), space, "phone")
    table.save(tmp_path / "phone.json")
    device = ImportedDevice(str(tmp_path / "phone.json"))
    costs = dict(zip(keys, np.arange(len(keys)) / 4, strict=True))
    genomes = device.restrict(space).sample(20, np.random.default_rng(0))
    expected = [sum(costs[layer_key(layer)] for layer in space.layers(genome)) for genome in genomes]
    np.testing.assert_allclose(device.compile(space).cost(genomes)["latency_ms"], expected)
