"""The doctor: what it looks at, and what it calls broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from bitfront.experiments import device_names, doctor, machine
from bitfront.experiments.doctor import Check, checks
from bitfront.experiments.store.home import open_store
from bitfront.latency_lut.device import Device
from bitfront.supernet.errors import MeasuringError, UnsupportedError
from bitfront.supernet.progress import silent

Call = Callable[..., Result]


@pytest.fixture
def healthy(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    """What is found here, by name; of the measured devices only one is asked, which takes a second."""
    monkeypatch.setattr(doctor, "_device_names", lambda home: ["bitfusion", "host-onnxruntime"])
    return {check.name: check for check in checks(home, silent)}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the quick part."""
    monkeypatch.setattr(doctor, "dependencies", lambda: ["numpy"])
    monkeypatch.setattr(doctor, "_device_names", lambda home: ["bitfusion"])
    monkeypatch.setattr(doctor, "_REGISTRIES", ("bitfront.supernet.quantization.formats:FORMATS",))


def test_nothing_is_broken_here(healthy: dict[str, Check], home: Path) -> None:
    assert [check for check in healthy.values() if check.state == "broken"] == []
    assert str(home) in healthy["folder"].value
    assert not home.exists()
    for name in ("CPU", "cores", "memory", "disk", "torch", "ray", "store"):
        assert healthy[name].value
    assert "fp32" in healthy["formats"].value
    assert "random" in healthy["strategies"].value
    assert "any pair" in healthy["bitfusion"].value
    assert "int4" in healthy["bitfusion"].value
    assert healthy["host-onnxruntime"].value.startswith("measured on this machine")
    gains = healthy["host-onnxruntime gains"].value
    for op in ("conv", "pointwise", "depthwise", "linear"):
        assert re.search(rf"{op}\([^)]+\) [^;]*int8 \d+\.\dx (faster|slower)", gains)


def test_devices_are_the_registered_and_the_imported_ones(home: Path) -> None:
    names = doctor._device_names(home)
    (home / "devices").mkdir(parents=True)
    (home / "devices" / "phone.json").write_text("{}")
    assert doctor._device_names(home) == sorted([*names, "phone"])
    assert "bitfusion" in names


@pytest.mark.usefixtures("few")
class TestCommand:
    def test_fine(self, call: Call, home: Path) -> None:
        with open_store():
            pass
        result = call("doctor")
        assert result.exit_code == 0, result.output
        assert "answers, at migration" in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_json(self, call: Call) -> None:
        found = {check["name"]: check for check in json.loads(call("doctor", "--json").stdout)}
        assert found["numpy"]["group"] == "dependencies"
        assert found["numpy"]["state"] == "fine"

    def test_missing_dependency(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "dependencies", lambda: ["numpy", "no-such-thing"])
        result = call("doctor")
        assert result.exit_code == 1
        assert "pip install no-such-thing" in result.stdout
        assert result.stderr.splitlines()[-1] == "error: broken: no-such-thing"

    def test_dependency_that_can_not_be_loaded(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "_MODULES", {"numpy": "numpy.no_such_module"})
        result = call("doctor", "--json")
        assert result.exit_code == 1
        (broken,) = [check for check in json.loads(result.stdout) if check["state"] == "broken"]
        assert (broken["name"], "no_such_module" in broken["value"]) == ("numpy", True)

    def test_damaged_store(self, call: Call, home: Path) -> None:
        home.mkdir()
        (home / "bitfront.sqlite").write_text("no database" * 1000)
        result = call("doctor")
        assert result.exit_code == 1
        assert "error: broken: store" in result.stderr

    def test_home_that_is_a_file(self, call: Call, home: Path) -> None:
        home.write_text("not a folder")
        result = call("doctor")
        assert result.exit_code == 1
        assert "folder" in result.stderr.splitlines()[-1]

    def test_name_that_can_not_be_loaded(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        from bitfront.supernet.quantization.formats import FORMATS

        monkeypatch.setitem(FORMATS._targets, "int3", "bitfront.no_such_module:INT3")
        result = call("doctor")
        assert result.exit_code == 1
        assert "int3 can not be loaded" in result.stdout
        assert "error: broken: formats" in result.stderr

    def test_device_that_can_not_be_used_here_is_doubtful_only(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lacking() -> Device:
            raise UnsupportedError("needs a runtime: pip install it")

        def with_file(file: str) -> Device:
            raise NotImplementedError

        factories = {"lacking": lacking, "with-file": with_file}
        monkeypatch.setattr(doctor, "_device_names", lambda home: list(factories))
        monkeypatch.setattr(device_names, "device_factory", lambda home, name: factories[name])
        result = call("doctor", "--json")
        assert result.exit_code == 0
        found = {check["name"]: (check["state"], check["value"]) for check in json.loads(result.stdout)}
        assert found["lacking"] == ("doubtful", "needs a runtime: pip install it")
        assert found["with-file"] == ("fine", "needs options: file")

    def test_device_that_fails_while_it_is_measured_is_doubtful_only(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(home: object, name: str) -> object:
            return lambda: object()

        def seen(name: str, device: object) -> Iterator[doctor.Check]:
            yield from ()
            raise MeasuringError("the child died")

        monkeypatch.setattr(doctor, "_device_names", lambda home: ["failing"])
        monkeypatch.setattr(device_names, "device_factory", failing)
        monkeypatch.setattr(doctor, "_seen", seen)
        result = call("doctor", "--json")
        assert result.exit_code == 0
        found = {check["name"]: check for check in json.loads(result.stdout)}
        assert (found["failing"]["state"], found["failing"]["value"]) == ("doubtful", "the child died")

    def test_imported_device_that_is_damaged_is_doubtful_only(
        self, call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "_device_names", lambda home: ["phone"])
        (home / "devices").mkdir(parents=True)
        (home / "devices" / "phone.json").write_text("{")
        found = {check["name"]: check for check in json.loads(call("doctor", "--json").stdout)}
        assert found["phone"]["state"] == "doubtful"
        assert "phone.json is not valid JSON" in found["phone"]["value"]

    def test_little_disk_is_doubtful_only(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "_LEAST_FREE", 2**80)
        result = call("doctor", "--json")
        assert result.exit_code == 0
        assert [c["name"] for c in json.loads(result.stdout) if c["state"] == "doubtful"] == ["disk"]


class TestMachine:
    def test_memory(self, tmp_path: Path) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal:       16384 kB\nMemAvailable:    1024 kB\n")
        assert machine.memory_bytes("MemTotal", meminfo) == 16384 * 1024
        assert machine.memory_bytes("MemAvailable", meminfo) == 1024 * 1024
        assert machine.memory_bytes("SwapTotal", meminfo) is None
        assert machine.memory_bytes("MemTotal", tmp_path / "none") is None

    def test_dependencies_are_those_of_the_package(self) -> None:
        names = machine.dependencies()
        assert {"torch", "numpy", "scikit-learn", "PyYAML"} <= set(names)
        assert "pytest" not in names
        assert not any(set(name) & set("<>=;[ ") for name in names)
