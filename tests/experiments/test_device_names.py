"""Devices by name, and where their tables are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.experiments.device_names import (
    default_options,
    device_factory,
    kind_of,
    known_devices,
    needed_options,
    own_options,
)
from bitfront.experiments.device_places import (
    imported_names,
    imported_path,
    is_device_name,
    is_unfinished,
    table_path,
    table_paths,
)
from bitfront.experiments.spec import SpecError, parse_spec
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.spaces.digits import digits


def factory(file: str, threads: int = 1, hint: str = "a") -> Device:
    """A factory like those of devices."""
    raise NotImplementedError


def saved(path: Path, device: str) -> None:
    rows = {"stem:conv(1>8,k3,s1,8px,w=int8,a=int8,relu)": {"latency_ms": 1.0}}
    Table(device, digits().hash(), ("latency_ms",), rows).save(path)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


class TestPlaces:
    @pytest.mark.parametrize("name", ["phone", "My-phone_2.0", "9"])
    def test_names(self, name: str) -> None:
        assert is_device_name(name)

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "ä", "a b", "a\n", "x.partial"])
    def test_names_that_are_none(self, name: str) -> None:
        assert not is_device_name(name)

    def test_imported_ones_are_those_with_a_table(self, tmp_path: Path) -> None:
        assert imported_names(tmp_path) == []
        for name in ("b", "a.b", "x.partial"):
            touch(imported_path(tmp_path, name))
        touch(tmp_path / "devices" / ".a.json.1234.part")
        assert imported_names(tmp_path) == ["a.b", "b"]

    def test_tables_are_told_apart_by_device_options_and_space(self, tmp_path: Path) -> None:
        paths = {
            table_path(tmp_path, device, options, space)
            for device in ("a", "a-b")
            for options in ({}, {"threads": 2}, {"threads": 2, "batch": 1})
            for space in ("cafe", "beef")
        }
        assert len(paths) == 12
        assert table_path(tmp_path, "a", {"x": 1, "y": 2}, "z") == table_path(tmp_path, "a", {"y": 2, "x": 1}, "z")

    def test_tables_of_one_device(self, tmp_path: Path) -> None:
        mine, other = (touch(table_path(tmp_path, name, {}, "cafe")) for name in ("a", "a-b"))
        partial = touch(mine.with_name(f"{mine.stem}.partial.json"))
        touch(mine.with_name("a-notes.json"))
        assert table_paths(tmp_path, "a") == sorted([mine, partial])
        assert table_paths(tmp_path, "a-b") == [other]
        assert (is_unfinished(mine), is_unfinished(partial)) == (False, True)


class TestOptions:
    def test_needed_and_default(self) -> None:
        assert needed_options(factory) == ["file"]
        assert default_options(factory) == {"threads": 1, "hint": "a"}

    def test_own_are_those_that_are_no_default(self) -> None:
        given = {"file": "x", "threads": 1, "hint": "b"}
        assert own_options(factory, given) == {"file": "x", "hint": "b"}
        assert own_options(factory, {"threads": True}) == {"threads": True}

    @given(st.dictionaries(st.sampled_from(["threads", "hint"]), st.sampled_from([1, 2, "a", "b"])))
    def test_naming_a_default_changes_no_path(self, options: dict[str, Any]) -> None:
        named = {**default_options(factory), **options}
        assert own_options(factory, named) == own_options(factory, options)


class TestNames:
    def test_registered_and_imported(self, tmp_path: Path) -> None:
        touch(imported_path(tmp_path, "phone"))
        assert set(known_devices(tmp_path)) == {*DEVICES.names(), "phone"}
        assert kind_of(device_factory(tmp_path, "bitfusion")()) == "modelled"
        assert kind_of(device_factory(tmp_path, "host-onnxruntime")()) == "measured"

    def test_unknown(self, tmp_path: Path) -> None:
        touch(imported_path(tmp_path, "phone"))
        with pytest.raises(UnknownNameError, match="did you mean 'phone'") as caught:
            device_factory(tmp_path, "fone")
        assert "bitfusion" in str(caught.value)

    def test_a_registered_name_wins(self, tmp_path: Path) -> None:
        touch(imported_path(tmp_path, "bitfusion"))
        assert kind_of(device_factory(tmp_path, "bitfusion")()) == "modelled"

    def test_a_file_under_another_name_is_refused(self, tmp_path: Path) -> None:
        saved(imported_path(tmp_path, "phone"), "tablet")
        with pytest.raises(InvalidTableError, match="of device 'tablet', not of 'phone'"):
            device_factory(tmp_path, "phone")()

    @pytest.mark.parametrize("name", ["../../outside", "a/b", ""])
    def test_a_name_out_of_a_file_is_no_path(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UnsupportedError, match="can not be called"):
            table_path(tmp_path, name, {}, "0" * 64)


class TestSpec:
    def test_an_imported_device_and_its_options_are_accepted(self, home: Path) -> None:
        saved(imported_path(home, "phone"), "phone")
        text = "{{space: digits, data: digits, objectives: [top1, latency_ms], device: {}}}"
        assert list(parse_spec(text.format("phone")).named_devices) == ["phone"]
        spec = parse_spec(text.format("{name: phone, options: {interpolate: true}}"))
        assert spec.named_devices["phone"].options == {"interpolate": True}
        with pytest.raises(SpecError, match="file"):
            parse_spec(text.format("{name: phone, options: {file: other.json}}"))
        with pytest.raises(SpecError, match="file"):
            parse_spec(text.format("imported"))

    @pytest.fixture
    def parse(self, home: Path) -> Callable[[str], Any]:
        touch(imported_path(home, "phone"))
        return lambda device: parse_spec(f"{{space: digits, data: digits, device: {device}}}")

    def test_unknown_names_list_registered_and_imported_ones(self, parse: Callable[[str], Any]) -> None:
        with pytest.raises(SpecError) as caught:
            parse("fone")
        (problem,) = caught.value.problems
        assert problem.path == "device"
        assert "did you mean 'phone'" in problem.fix
        assert "bitfusion" in problem.fix
        assert "bitfront device import" in problem.fix
