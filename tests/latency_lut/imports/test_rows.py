"""What files of bitfront's own schema are refused for, beyond single bad costs, and what they keep."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.imports.keys import possible_keys
from bitfront.latency_lut.imports.own import read_csv, read_parquet, write_csv, write_parquet
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.latency_lut.profile_plan import call_key, output_shape
from bitfront.latency_lut.slot_blocks import every_block, unique_blocks
from bitfront.latency_lut.table import INTERPOLATED, InvalidTableError, Table
from bitfront.supernet.spaces.mbconv import MBConvSpace

HOSTS = [(read_csv, write_csv), (read_parquet, write_parquet)]
FORMS = pytest.mark.parametrize(("read", "write"), HOSTS, ids=["csv", "parquet"])
IN_EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    return tiny_space.restrict({"resolution": [8], "stage0.depth": [1], "stage1.depth": [1]})


@pytest.fixture(scope="module")
def keys(space: MBConvSpace) -> list[str]:
    return list(unique_blocks(bitfusion().restrict(space), bitfusion()))


def text_of(
    keys: Sequence[str], *, head: str = "", columns: str = "kind,key,latency_ms", cells: str = "1.5"
) -> str:
    return "\n".join([*([head] if head else []), columns, *(f'block,"{key}",{cells}' for key in keys)]) + "\n"


def read_text(text: str, folder: Path, space: MBConvSpace, encoding: str = "utf-8") -> Any:
    (folder / "table.csv").write_text(text, encoding=encoding)
    return read_csv(folder / "table.csv", space)


# -- what is kept ------------------------------------------------------------------------------------------


@IN_EXAMPLES
@given(costs=st.lists(st.floats(0, allow_infinity=False, allow_nan=False), min_size=2, max_size=2))
@FORMS
def test_any_cost_survives_to_the_last_bit(
    space: MBConvSpace, keys: list[str], tmp_path: Path, costs: list[float], read: Any, write: Any
) -> None:
    entries = {key: dict(zip(("latency_ms", "energy_mj"), costs, strict=True)) for key in keys}
    table = Table("d", space.hash(), ("latency_ms", "energy_mj"), entries)
    write(table, tmp_path / "table")
    assert read(tmp_path / "table", space).entries == entries


@FORMS
def test_estimates_stay_flagged(
    space: MBConvSpace, keys: list[str], tmp_path: Path, read: Any, write: Any
) -> None:
    """An exported estimate must not come back as if it were known."""
    entries = {key: {"latency_ms": 1.0} for key in keys}
    details: dict[str, dict[str, Any]] = {keys[3]: {INTERPOLATED: keys[5:7]}, keys[4]: {"rounds": 3}}
    table = Table("d", space.hash(), ("latency_ms",), entries, details=details)
    write(table, tmp_path / "table")
    back = imported_table(read(tmp_path / "table", space), space, "phone")
    assert back.details == {keys[3]: {INTERPOLATED: keys[5:7]}}
    write(replace(table, details={}), tmp_path / "plain")
    assert read(tmp_path / "plain", space).details == {}


def test_a_mark_of_a_spreadsheet_and_empty_lines_do_no_harm(
    space: MBConvSpace, keys: list[str], tmp_path: Path
) -> None:
    text = text_of(keys, head="# who: 1").replace("\n", "\n\n")
    found = read_text(text.replace("# who: 1\n\n", "# who: 1\n"), tmp_path, space, encoding="utf-8-sig")
    assert found.provenance == {"who": 1}
    assert found.entries == {key: {"latency_ms": 1.5} for key in keys}


def test_calls_without_spread_stand_for_themselves(space: MBConvSpace, keys: list[str], tmp_path: Path) -> None:
    rows = "".join(f'call,"{key}",2.5,,7\n' for key in keys[:-1]) + f'call,"{keys[-1]}",2.5,2.0,\n'
    found = read_text("kind,key,latency_ms,latency_q1_ms,rounds\n" + rows, tmp_path, space)
    assert found.entries == {}
    assert list(found.calls) == keys
    first, *_, last = found.calls.values()
    assert first == (2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 7)
    assert last == (2.5, 2.0, 2.5, 2.5, 2.5, 2.5, 1)


# -- keys of a space ---------------------------------------------------------------------------------------


def test_possible_keys_are_those_of_networks(space: MBConvSpace) -> None:
    """Whatever a network of the space has, a table may have."""
    known = possible_keys(space)
    for genome in space.sample(300, np.random.default_rng(0)):
        blocks = space.blocks(genome)
        for block in blocks:
            assert known.has("block", op_key(block))
            assert all(known.has("layer", layer_key(layer)) for layer in block.layers)
        for before, after in itertools.pairwise(blocks):
            if handed_over(before) != asked_for(after):
                key = border_key(*output_shape(before), handed_over(before), asked_for(after))
                assert known.has("border", key)
        assert known.has("call", call_key(blocks))
    assert not known.has("layer", op_key(blocks[0]))
    assert not known.has("call", call_key(blocks) + " + mbconv:x")


def test_a_slot_is_bare_exactly_if_no_block_of_it_is_known(space: MBConvSpace) -> None:
    known = possible_keys(space)
    slots = {block.name for block in every_block(space)}
    assert set(known.bare_slots(())) == slots
    for block in list(every_block(space))[::97]:
        for given_keys in ({op_key(block)}, {layer_key(layer) for layer in block.layers}):
            bare = known.bare_slots(given_keys)
            assert block.name not in bare
            assert set(bare) < slots
        lacking = {layer_key(layer) for layer in block.layers[1:]}
        assert block.name in known.bare_slots(lacking)


# -- what is refused ---------------------------------------------------------------------------------------

SPOILT: list[tuple[Callable[[list[str]], str], str]] = [
    (lambda keys: text_of(keys, cells="1.5,9"), r"\d+ bad rows, the first: row 0 has 4 fields.*3 fields"),
    (lambda keys: text_of(keys, cells=""), r"latency_ms is nan \(''\)"),
    (lambda keys: text_of(keys, cells='"1,5"'), r"latency_ms is nan \('1,5'\)"),
    (lambda keys: text_of(keys, cells="1e999"), "latency_ms is inf"),
    (lambda keys: text_of(keys, columns="kind,key,key"), "column 'key' comes twice"),
    (lambda keys: text_of(keys, columns="kind,key,energy_uj"), "column 'energy_uj' is in 'uj', not in 'mj'"),
    (lambda keys: text_of(keys, columns="kind,key,latency_q1_us"), "'latency_q1_us' is in 'us', not in 'ms'"),
    (lambda keys: text_of(keys, head='# latency_unit: "us"'), "it says that latency_unit is 'us'"),
    (lambda keys: text_of(keys, head='# units: {"latency": "ms", "energy": "J"}'), "energy is 'J'"),
    (lambda keys: text_of(keys, head='# unit: "seconds"'), "unit is 'seconds'.*convert"),
    (lambda keys: text_of(keys, head="# temperature: NaN"), "# temperature: NaN.*JSON"),
    (lambda keys: text_of([k for k in keys if "head" not in k]), "1 bad row, the first: slot 'head' has no costs"),
    (lambda keys: text_of(keys).replace("block", "call").replace("latency_ms", "energy_mj"), "has calls, but no"),
    (
        lambda keys: text_of(keys, columns="kind,key,latency_ms,latency_q3_ms", cells="1.5,-2"),
        r"latency_q3_ms is -2\.0",
    ),
    (
        lambda keys: text_of(keys, columns="kind,key,latency_ms,rounds", cells="1.5,many"),
        r"rounds is nan \('many'\)",
    ),
    (lambda keys: text_of(keys) + '"open', "no CSV file"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILT)
def test_a_spoilt_csv_is_refused(
    space: MBConvSpace, keys: list[str], spoil: Callable[[list[str]], str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidTableError, match=words):
        read_text(spoil(keys), tmp_path, space)


@pytest.mark.parametrize("head", ['# units: {"latency": "ms", "energy": "mJ"}', '# latency_unit: "milliseconds"'])
def test_our_own_units_may_be_stated(space: MBConvSpace, keys: list[str], head: str, tmp_path: Path) -> None:
    assert len(read_text(text_of(keys, head=head), tmp_path, space).entries) == len(keys)


def test_five_offenders_are_listed_and_all_are_counted(
    space: MBConvSpace, keys: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidTableError, match=rf"has {len(keys)} bad rows.*nothing was imported") as error:
        read_text(text_of(keys, cells="-1"), tmp_path, space)
    assert str(error.value).count("latency_ms is -1.0") == 5


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"kind": ["block"], "key": [7], "latency_ms": [1.0]}), "row 0: key 7"),
        (pd.DataFrame({"kind": [None], "key": ["x"], "latency_ms": [1.0]}), "row 0: kind None"),
        (pd.DataFrame({"kind": ["block"], "key": [None], "latency_ms": [1.0]}), "row 0: key None"),
        (pd.DataFrame({"kind": ["block"], "key": ["x"], "latency_ms": ["fast"]}), r"latency_ms is nan \('fast'\)"),
        (pd.DataFrame({"kind": ["block"], "key": ["x"], "latency_ms": [None]}), "latency_ms is nan"),
    ],
)
def test_a_spoilt_parquet_is_refused(space: MBConvSpace, frame: pd.DataFrame, words: str, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InvalidTableError, match=words):
        read_parquet(tmp_path / "table.parquet", space)


def test_parquet_metadata_that_is_no_mapping_is_refused(
    space: MBConvSpace, keys: list[str], tmp_path: Path
) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"kind": ["block"] * len(keys), "key": keys, "latency_ms": [1.0] * len(keys)})
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"bitfront": b"[1]"}), tmp_path / "t.parquet")
    with pytest.raises(InvalidTableError, match="no mapping"):
        read_parquet(tmp_path / "t.parquet", space)
