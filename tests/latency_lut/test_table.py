from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.op_key import layer_key, op_key
from bitfront.latency_lut.table import Correction, InvalidTableError, Table
from bitfront.supernet.errors import CorruptFileError, MissingFileError
from bitfront.supernet.layers import Block, Layer

COSTS = ("latency_ms", "energy_mj")
ENTRIES = {"stem": {"latency_ms": 0.5, "energy_mj": 0.25}, "head": {"latency_ms": 0.0, "energy_mj": 2}}

BORDERS = {"border(24ch,56px,fp32>int8)": {"latency_ms": 0.0625, "energy_mj": 0.0}}
LAYERS = tuple(
    Layer(op, "pointwise", 8, 8, 1, 1, 4, weight, "int8", signed_input=True, act="relu")
    for op, weight in (("a", "int8"), ("b", "int4"))
)
BLOCK = Block("block", "mbconv", (LAYERS[0], LAYERS[1], LAYERS[0]))


def _table(entries: Any = ENTRIES, **other: Any) -> Table:
    return Table("toy", "cafe" * 16, COSTS, entries, **other)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    _table().save(path)
    return path


def _load(path: Path) -> Table:
    return Table.load(path, "toy", "cafe" * 16)


def test_a_table_survives_saving(tmp_path: Path) -> None:
    table = _table(
        provenance={"cpu": "x", "threads": 1},
        correction={"latency_ms": Correction(-0.5, 1.25)},
        details={"stem": {"repeats": 12, "quartiles": [1, 2, 3]}},
        borders=BORDERS,
    )
    table.save(tmp_path / "a" / "table.json")
    assert _load(tmp_path / "a" / "table.json") == table


@given(st.dictionaries(st.text(), st.fixed_dictionaries({"latency_ms": st.floats(0, 1e300)})))
def test_costs_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, dict[str, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.json"
    Table("toy", "cafe" * 16, ("latency_ms",), entries).save(path)
    assert _load(path).entries == entries


def test_a_cost_without_a_correction_stays_as_it_is() -> None:
    table = _table(correction={"latency_ms": Correction(1.0, 2.0)})
    assert table.corrected("latency_ms") == Correction(1.0, 2.0)
    assert table.corrected("energy_mj") == Correction(0.0, 1.0)


def test_a_file_without_borders_has_none(saved: Path) -> None:
    value = json.loads(saved.read_text())
    del value["borders"]
    saved.write_text(json.dumps(value))
    assert _load(saved).borders == {}


def test_impossible_borders_are_refused() -> None:
    with pytest.raises(InvalidTableError, match=r"1 bad entries, the first: border\(.*\): latency_ms is -1.0"):
        _table(borders={"border(24ch,56px,fp32>int8)": {"latency_ms": -1.0, "energy_mj": 0.0}})


PARTS = {
    layer_key(LAYERS[0]): {"latency_ms": 1.0, "energy_mj": 0.5},
    layer_key(LAYERS[1]): {"latency_ms": 4.0, "energy_mj": 0.25},
}
OWN = {op_key(BLOCK): {"latency_ms": 5.0, "energy_mj": 1.0}}


class TestCostOfABlock:
    def test_its_own_entry_comes_first(self) -> None:
        table = _table({**PARTS, **OWN})
        assert table.cost_of(op_key(BLOCK), BLOCK) == {"latency_ms": 5.0, "energy_mj": 1.0}

    def test_else_its_layers_are_summed(self) -> None:
        assert _table(PARTS).cost_of(op_key(BLOCK), BLOCK) == {"latency_ms": 6.0, "energy_mj": 1.25}

    def test_a_layer_that_lacks_leaves_nothing(self) -> None:
        table = _table({layer_key(LAYERS[0]): PARTS[layer_key(LAYERS[0])]})
        assert table.cost_of(op_key(BLOCK), BLOCK) is None

    @pytest.mark.parametrize(("marked", "with_own", "estimated"), [(0, 0, 1), (0, 1, 0), (2, 1, 1), (3, 1, 0)])
    def test_it_is_estimated_where_an_entry_it_rests_on_is(
        self, marked: int, with_own: int, estimated: int
    ) -> None:
        key = [*map(layer_key, LAYERS), op_key(BLOCK), "another"][marked]
        entries = {**PARTS, **(OWN if with_own else {})}
        table = _table(entries, details={key: {"interpolated": ["x", "y"]}})
        assert table.is_estimated(op_key(BLOCK), BLOCK) is bool(estimated)


def test_the_table_of_another_device_is_refused(saved: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"table\.json is of device 'toy', not of 'bitfusion'"):
        Table.load(saved, "bitfusion", "cafe" * 16)


def test_the_table_of_another_space_is_refused_with_both_hashes(saved: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"hash cafecafecafe, but this space has beefbeefbeef"):
        Table.load(saved, "toy", "beef" * 16)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.json"):
        _load(tmp_path / "none.json")


def test_a_cut_off_table_is_corrupt(saved: Path) -> None:
    saved.write_text(saved.read_text()[:-20])
    with pytest.raises(CorruptFileError, match=r"table\.json"):
        _load(saved)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"kind": "other"}'])
def test_json_that_is_no_table_is_corrupt(saved: Path, text: str) -> None:
    saved.write_text(text)
    with pytest.raises(CorruptFileError, match="not a bitfront table"):
        _load(saved)


@pytest.mark.parametrize("field", ["version", "entries", "costs", "correction", "details", "borders"])
def test_a_table_with_a_broken_field_is_corrupt(saved: Path, field: str) -> None:
    value = json.loads(saved.read_text())
    saved.write_text(json.dumps({**value, field: None}))
    with pytest.raises(CorruptFileError, match=r"table\.json is not a bitfront table"):
        _load(saved)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"latency_ms": math.nan, "energy_mj": 1.0}, "latency_ms is nan"),
        ({"latency_ms": 1.0, "energy_mj": -2.0}, "energy_mj is -2.0"),
        ({"latency_ms": math.inf, "energy_mj": 1.0}, "latency_ms is inf"),
        ({"latency_ms": "1", "energy_mj": 1.0}, "latency_ms is '1'"),
        ({"latency_ms": True, "energy_mj": 1.0}, "latency_ms is True"),
        ({"latency_ms": 1.0}, "no energy_mj"),
        ({"latency_ms": 1.0, "energy_mj": 1.0, "area_mm2": 1.0}, "unknown cost 'area_mm2'"),
    ],
)
def test_impossible_costs_are_refused(saved: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidTableError, match=f"1 bad entries, the first: odd: {said}"):
        _table({**ENTRIES, "odd": row})
    value = json.loads(saved.read_text())
    value["entries"]["odd"] = row
    saved.write_text(json.dumps(value))
    with pytest.raises(InvalidTableError, match=f"table.json: .*odd: {said}"):
        _load(saved)


def test_the_first_offenders_and_their_count_are_listed() -> None:
    bad = {f"key{i}": {"latency_ms": -1.0, "energy_mj": 1.0} for i in range(7)}
    with pytest.raises(InvalidTableError, match="7 bad entries") as caught:
        _table(bad)
    assert "key0" in str(caught.value)
    assert "key4" in str(caught.value)
    assert "key5" not in str(caught.value)


@pytest.mark.parametrize(
    "correction",
    [{"latency_ms": Correction(math.nan, 1.0)}, {"latency_ms": Correction(0.0, 0.0)}, {"area_mm2": Correction()}],
)
def test_impossible_corrections_are_refused(correction: dict[str, Correction]) -> None:
    with pytest.raises(InvalidTableError, match="correction of"):
        _table(correction=correction)


def test_a_table_gives_at_least_one_cost() -> None:
    with pytest.raises(InvalidTableError, match="names no costs"):
        Table("toy", "cafe", (), {})
