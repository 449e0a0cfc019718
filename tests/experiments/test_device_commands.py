"""bitfront device: what is printed where, which files are made, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from bitfront.experiments.device_places import table_path, table_paths
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.store import swapping
from bitfront.experiments.store.base import Store
from bitfront.latency_lut.bundle.profile import Call as Timed
from bitfront.latency_lut.bundle.profile import Protocol
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.folded import Folded
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.documents import document_of
from bitfront.supernet.spaces.mbconv import MBConvSpace

Call = Callable[..., Result]

SUBCOMMANDS = ("ls", "show", "profile", "import", "export", "bundle")
HEAVY = {"torch", "pandas", "sqlalchemy", "numpy", "scipy", "yaml", "matplotlib", "onnx"}


class FakeRuntime(RuntimeDevice):
    """A runtime whose calls take known times on its own clock."""

    name = "fake-runtime"
    version = "1.0"

    def __init__(self, threads: int = 1, batch: int = 8) -> None:
        super().__init__(threads, batch, Protocol(rounds=2, sample_ns=1_000), self.clock)
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return frozenset({("fp32", "fp32"), ("int8", "int8")})

    def machine(self) -> dict[str, Any]:
        return {"cpu_model": "fake", "isa": ["x"], "runtime": "fake", "runtime_version": self.version}

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Timed:
        cost = 7_000 + sum(one.layer.macs for one in part.layers)

        def run() -> None:
            self.now_ns += cost

        return run


def broken() -> FakeRuntime:
    raise UnsupportedError("broken-runtime needs a runtime: pip install it")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tiny_space: MBConvSpace) -> None:
    """A measured device that takes no time, one that can not be used, and a space of few blocks."""
    for name, target in (("fake-runtime", FakeRuntime), ("broken-runtime", broken)):
        monkeypatch.setitem(DEVICES._targets, name, f"{__name__}:{target.__name__}")
        monkeypatch.setitem(DEVICES._loaded, name, target)
    small = tiny_space.restrict({"resolution": [8]})
    monkeypatch.setitem(SPACES._targets, "tiny", f"{__name__}:none")
    monkeypatch.setitem(SPACES._loaded, "tiny", lambda: small)


def one_error(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


class TestHelp:
    def test_names_every_command(self, call: Call) -> None:
        text = call("device", "--help").stdout
        for command in SUBCOMMANDS:
            assert re.search(rf"^│ {command}\b", text, re.MULTILINE)
        assert re.search(r"^│ device\b", call("--help").stdout, re.MULTILINE)

    @pytest.mark.parametrize("command", SUBCOMMANDS)
    def test_of_each_command(self, call: Call, command: str) -> None:
        result = call("device", command, "-h")
        assert result.exit_code == 0
        assert f"Usage: bitfront device {command}" in result.stdout

    def test_loads_nothing_heavy(self) -> None:
        command = ["-X", "importtime", "-m", "bitfront.experiments.cli", "device", "show", "--help"]
        ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
        assert imported & HEAVY == set()


class TestLs:
    def test_for_programs(self, call: Call, home: Path) -> None:
        result = call("device", "ls", "--json")
        rows = {row["name"]: row for row in json.loads(result.stdout)}
        assert rows["bitfusion"]["kind"] == "modelled"
        assert rows["bitfusion"]["costs"] == ["latency_ms", "energy_mj"]
        assert rows["bitfusion"]["formats"]["linear"][0] == ["int4", "int4"]
        assert rows["fake-runtime"]["kind"] == "measured"
        assert rows["broken-runtime"]["problem"] == "broken-runtime needs a runtime: pip install it"
        assert "imported" not in rows
        assert not home.exists()

    def test_for_people_and_spreadsheets(self, call: Call, home: Path) -> None:
        path = table_path(home, "bitfusion", {}, "cafe")
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        text = call("device", "ls").stdout
        assert max(map(len, text.splitlines())) <= 100
        (line,) = [line for line in text.splitlines() if line.startswith("bitfusion")]
        assert line.split()[1] == "modelled"
        assert line.split()[-1] == "1"
        assert "not here" in text
        rows = {row["name"]: row for row in csv.DictReader(io.StringIO(call("device", "ls", "--csv").stdout))}
        assert rows["bitfusion"]["tables"] == str(path)
        assert rows["broken-runtime"]["problem"].startswith("broken-runtime needs")
        assert call("device", "ls", "--csv", "--json").exit_code == 2


class TestShow:
    def test_a_device(self, call: Call) -> None:
        result = call("device", "show", "bitfusion", "--option", "batch=4")
        assert result.exit_code == 0, result.output
        for word in ("modelled", "latency_ms, energy_mj", "any pair", "Sharma"):
            assert word in result.stdout
        assert re.search(r"^  batch +4 *$", result.stdout, re.MULTILINE)
        assert "--plot" in result.stderr
        assert json.loads(call("device", "show", "bitfusion", "--json").stdout)["options"]["batch"] == 1

    def test_a_space(self, call: Call, tiny_space: MBConvSpace) -> None:
        result = call("device", "show", "bitfusion", "--space", "tiny", "--json")
        space = json.loads(result.stdout)["space"]
        assert space["networks"] > space["available_networks"] > 1
        assert [slot["slot"] for slot in space["slots"]] == [slot.name for slot in tiny_space.slots]
        stem, block = space["slots"][:2]
        assert (stem["combinations"], stem["available"], stem["blocks"]) == (4, 1, 1)
        assert (block["combinations"], block["available"]) == (9 * 4**4, 9 * 3**4)
        for slot in space["slots"]:
            assert slot["cheapest"][1] <= slot["median"][1] <= slot["dearest"][1]
        assert space["cheapest"][1] == min(slot["cheapest"][1] for slot in space["slots"])
        assert space["borders"] == {"count": 0, "dearest": None}
        text = call("device", "show", "bitfusion", "--space", "tiny").stdout
        assert max(map(len, text.splitlines())) <= 100
        assert "729 of 2,304" in text

    @pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.html", b"<!DOCTYPE html>")])
    def test_plot(self, call: Call, tmp_path: Path, name: str, start: bytes) -> None:
        path = tmp_path / "new" / name
        result = call("device", "show", "bitfusion", "--space", "tiny", "--plot", path, "--json")
        assert result.exit_code == 0, result.output
        assert path.read_bytes().startswith(start)
        assert f"picture: {path}" in result.stderr.splitlines()
        json.loads(result.stdout)

    def test_a_measured_device_is_not_measured(self, call: Call, home: Path) -> None:
        result = call("device", "show", "fake-runtime", "--space", "tiny", "--option", "batch=2")
        one_error(result, "no table for space 'tiny' yet")
        assert "'bitfront device profile fake-runtime --space tiny --option batch=2'" in result.stderr
        assert not (home / "tables").exists()

    def test_what_is_advised_names_the_space_as_it_was_named(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "my space.yaml"
        path.write_text(json.dumps(document_of(SPACES.get("digits")())))
        result = call("device", "show", "fake-runtime", "--space", path, "--space-option", "classes=3")
        one_error(result, f"device profile fake-runtime --space '{path}' --space-option classes=3'")
        exported = call("device", "export", "fake-runtime", "--space", path, "-o", tmp_path / "a.csv")
        one_error(exported, f"device profile fake-runtime --space '{path}''")

    def test_options_of_the_space_reach_it(self, call: Call) -> None:
        heads = []
        for classes in (3, 10):
            give = ("--space", "digits", "--space-option", f"classes={classes}", "--json")
            heads.append(json.loads(call("device", "show", "bitfusion", *give).stdout)["space"])
        assert heads[0] != heads[1]
        one_error(
            call("device", "show", "bitfusion", "--space", "digits", "--space-option", "clases=3"),
            "unknown option of space 'digits' 'clases'",
        )

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("bitfuson",), ("did you mean 'bitfusion'",)),
            (("bitfusion", "--space", "digts"), ("did you mean 'digits'",)),
            (("bitfusion", "--option", "btach=1"), ("btach", "did you mean 'batch'")),
            (("bitfusion", "--option", "batch=0"), ("batch of 0",)),
            (("broken-runtime",), ("pip install it",)),
        ],
    )
    def test_bad_input(self, call: Call, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
        one_error(call("device", "show", *arguments), *words)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--plot", "a.png"),
            ("--plot", "a.gif", "--space", "tiny"),
            ("--option", "batch"),
            ("--option", "=3"),
            ("--option", "batch=1", "--option", "batch=2"),
            ("--option", "batch=[1]"),
        ],
    )
    def test_command_lines_that_can_not_be_read(self, call: Call, arguments: tuple[str, ...]) -> None:
        result = call("device", "show", "bitfusion", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")

    def test_damaged_table_files_are_told_of(self, call: Call, home: Path) -> None:
        path = table_path(home, "bitfusion", {}, "cafe")
        path.parent.mkdir(parents=True)
        path.write_text("{")
        (row,) = json.loads(call("device", "show", "bitfusion", "--json").stdout)["tables"]
        assert (row["path"], row["unfinished"], "not valid JSON" in row["problem"]) == (str(path), False, True)


class TestProfile:
    def test_where_an_experiment_looks_for_it(self, call: Call, home: Path, store: Store) -> None:
        result = call("device", "profile", "fake-runtime", "--space", "digits", "--threads", 1, "--batch", 2)
        assert result.exit_code == 0, result.output
        spec = spec_from(
            {"space": "digits", "data": "digits", "device": {"name": "fake-runtime", "options": {"batch": 2}}}
        )
        run = Run(store, home, "x", spec, Reporters())
        (device,) = run.devices().values()
        path = table_path(home, device.name, run.own_device_options("fake-runtime"), run.space().hash())
        assert result.stdout == f"{path}\n"
        table = Table.load(path, "fake-runtime", run.space().hash())
        assert f"measured the table of fake-runtime: {len(table.entries):,} different blocks" in result.stderr
        assert table.provenance["batch"] == 2
        assert "20 whole networks correct" in result.stderr

        kept = path.read_bytes()
        again = call("device", "profile", "fake-runtime", "--space", "digits", "--option", "batch=2")
        assert "found the table of fake-runtime" in again.stderr
        assert path.read_bytes() == kept
        (listed,) = json.loads(call("device", "show", "fake-runtime", "--json").stdout)["tables"]
        assert (listed["space"], listed["date"]) == ("digits", table.provenance["date"])

    def test_table_of_another_version_is_warned_of(
        self, call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert call("device", "profile", "fake-runtime", "--space", "tiny").exit_code == 0
        monkeypatch.setattr(FakeRuntime, "version", "2.0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = call("device", "profile", "fake-runtime", "--space", "tiny")
        assert result.exit_code == 0, result.output
        assert "warning: " in result.stderr
        assert "runtime_version '1.0', here '2.0'" in result.stderr

    @pytest.mark.parametrize("command", ["show", "export"])
    def test_looking_at_a_table_of_another_version_warns_too(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        assert call("device", "profile", "fake-runtime", "--space", "tiny").exit_code == 0
        more = ("-o", tmp_path / "t.csv") if command == "export" else ()
        asked = ("device", command, "fake-runtime", "--space", "tiny", *more)
        assert "warning" not in call(*asked).stderr
        monkeypatch.setattr(FakeRuntime, "version", "2.0")
        result = call(*asked)
        assert result.exit_code == 0, result.output
        assert "runtime_version '1.0', here '2.0'" in result.stderr

    def test_a_table_with_other_options_is_pointed_at(self, call: Call) -> None:
        assert call("device", "profile", "fake-runtime", "--space", "tiny", "--batch", "2").exit_code == 0
        result = call("device", "show", "fake-runtime", "--space", "digits", "--batch", "3")
        one_error(result, "no table for space 'digits' yet: ")
        assert call("device", "show", "fake-runtime", "--space", "tiny", "--batch", "2").exit_code == 0

    def test_no_other_file_is_written_over(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "thesis.json"
        path.write_text('{"chapter": 1}')
        one_error(call("device", "profile", "bitfusion", "--space", "tiny", "-o", path), "thesis.json")
        assert path.read_text() == '{"chapter": 1}'

    def test_modelled_ones_and_another_file(self, call: Call, home: Path, tmp_path: Path) -> None:
        path = tmp_path / "mine.json"
        result = call("device", "profile", "bitfusion", "--space", "tiny", "-o", path)
        assert result.stdout == f"{path}\n"
        assert "computed the table of bitfusion" in result.stderr
        assert table_paths(home, "bitfusion") == []

    def test_damaged_table(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "mine.json").write_text("{")
        one_error(
            call("device", "profile", "fake-runtime", "--space", "tiny", "-o", tmp_path / "mine.json"),
            "mine.json",
            "delete it",
        )

    def test_space_must_be_given(self, call: Call) -> None:
        assert call("device", "profile", "bitfusion").exit_code == 2
        one_error(call("device", "profile", "bitfusion", "--space", "digts"), "did you mean 'digits'")


@pytest.fixture
def exported(call: Call, tmp_path: Path) -> Path:
    """The table of BitFusion for the tiny space, as CSV."""
    path = tmp_path / "bitfusion.csv"
    result = call("device", "export", "bitfusion", "--space", "tiny", "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    return path


class TestImport:
    def test_a_device_that_can_be_named(self, call: Call, exported: Path, home: Path) -> None:
        result = call("device", "import", exported, "--name", "my-phone", "--space", "tiny")
        assert result.exit_code == 0, result.output
        path = home / "devices" / "my-phone.json"
        assert result.stdout == f"{path}\n"
        assert "imported my-phone from csv" in result.stderr
        assert "left out of searches" not in result.stderr
        assert list(path.parent.iterdir()) == [path]
        (row,) = [row for row in json.loads(call("device", "ls", "--json").stdout) if row["name"] == "my-phone"]
        assert (row["kind"], row["costs"]) == ("imported", ["latency_ms", "energy_mj"])

        def costs(device: str) -> Any:
            shown = json.loads(call("device", "show", device, "--space", "tiny", "--json").stdout)["space"]
            return shown["slots"], shown["available_networks"]

        assert costs("my-phone") == costs("bitfusion")

    def test_a_home_that_is_being_restored_is_left_alone(
        self, call: Call, exported: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(swapping, "_WAIT_SECONDS", 0.0)
        home.mkdir()
        with swapping.used_by_nobody(home):
            for command in (("import", exported, "--name", "my-phone"), ("profile", "bitfusion")):
                result = call("device", *command, "--space", "tiny")
                assert result.exit_code == 1
                assert "is being restored from a backup" in result.stderr
        assert not list(home.iterdir())

    def test_what_is_missing_is_told(self, call: Call, exported: Path) -> None:
        lines = exported.read_text().splitlines(keepends=True)
        exported.write_text("".join(line for line in lines if "depthwise(8>8" not in line))
        result = call("device", "import", exported, "--name", "my-phone", "--space", "tiny")
        assert result.exit_code == 0, result.output
        assert "left out of searches" in result.stderr
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("stage0.block0")]
        assert line.split() == ["stage0.block0", "729", "486", "243"]
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("head")]
        assert line.split() == ["head", "1", "1", "0"]
        shown = json.loads(call("device", "show", "my-phone", "--space", "tiny", "--json").stdout)["space"]
        assert shown["slots"][1]["available"] == 486
        assert shown["estimated_blocks"] == 0
        option = ("--option", "interpolate=true")
        asked = json.loads(call("device", "show", "my-phone", "--space", "tiny", "--json", *option).stdout)[
            "space"
        ]
        assert asked["slots"] == shown["slots"]  # two widths are too few to estimate a third

    def test_parquet_and_back(self, call: Call, exported: Path, tmp_path: Path, home: Path) -> None:
        assert call("device", "import", exported, "--name", "one", "--space", "tiny").exit_code == 0
        path = tmp_path / "one.parquet"
        assert call("device", "export", "one", "--space", "tiny", "-o", path).exit_code == 0
        assert call("device", "import", path, "--name", "two", "--space", "tiny").exit_code == 0
        one, two = (Table.read(home / "devices" / f"{name}.json") for name in ("one", "two"))
        assert one.entries == two.entries

    def test_names_are_not_taken_twice(self, call: Call, exported: Path, home: Path) -> None:
        give = ("device", "import", exported, "--space", "tiny", "--name")
        assert call(*give, "phone").exit_code == 0
        kept = (home / "devices" / "phone.json").read_bytes()
        frame = pd.read_csv(exported, comment="#").assign(latency_ms=0.125)
        frame.to_csv(exported, index=False)
        one_error(call(*give, "phone"), "phone.json exists", "--force")
        assert (home / "devices" / "phone.json").read_bytes() == kept
        assert call(*give, "phone", "--force").exit_code == 0
        entries = Table.read(home / "devices" / "phone.json").entries
        assert {row["latency_ms"] for row in entries.values()} == {0.125}

    @pytest.mark.parametrize("name", ["bitfusion", "imported", "../phone", "a b", ".x", ""])
    def test_names_that_can_not_be(self, call: Call, exported: Path, home: Path, name: str) -> None:
        one_error(call("device", "import", exported, "--space", "tiny", "--name", name), repr(name))
        assert not (home / "devices").exists()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda text: text.replace("latency_ms", "latency_us"), ("latency_us", "nothing was imported")),
            (lambda text: re.sub(r",[0-9.e-]+$", ",-1", text, flags=re.MULTILINE), ("-1", "nothing was imported")),
            (lambda text: text + text.splitlines()[-1] + "\n", ("comes twice", "nothing was imported")),
            (lambda text: text.replace("1>4", "1>5"), ("1>5",)),
            (lambda text: "\n".join(line for line in text.splitlines() if "stem" not in line), ("stem",)),
            (lambda text: "", ("csv",)),
        ],
    )
    def test_bad_tables(
        self, call: Call, exported: Path, home: Path, change: Callable[[str], str], words: tuple[str, ...]
    ) -> None:
        exported.write_text(change(exported.read_text()))
        one_error(call("device", "import", exported, "--name", "phone", "--space", "tiny"), *words)
        assert not (home / "devices").exists()

    def test_files_that_are_none(self, call: Call, tmp_path: Path) -> None:
        give = ("--name", "phone", "--space", "tiny")
        one_error(call("device", "import", tmp_path / "none.csv", *give), "none.csv", "missing")
        one_error(call("device", "import", tmp_path / "none.xls", *give), "'.xls'")
        one_error(call("device", "import", tmp_path / "none.csv", *give, "--format", "cvs"), "did you mean 'csv'")


class TestExport:
    def test_a_measured_device_is_not_measured(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "fake.csv"
        give = ("device", "export", "fake-runtime", "--space", "tiny", "-o", path)
        one_error(call(*give), "device profile fake-runtime")
        assert not path.exists()
        assert call("device", "profile", "fake-runtime", "--space", "tiny").exit_code == 0
        result = call(*give)
        assert result.exit_code == 0, result.output
        assert path.read_text().count("\nblock,") == int(re.findall(r"wrote (\d+) blocks", result.stderr)[0])

    def test_format(self, call: Call, tmp_path: Path) -> None:
        give = ("device", "export", "bitfusion", "--space", "tiny")
        one_error(call(*give, "-o", tmp_path / "table.xls"), "'xls'", "csv, parquet")
        assert call(*give, "-o", tmp_path / "table.xls", "--format", "csv").exit_code == 0
        assert (tmp_path / "table.xls").read_text().startswith("#")


class TestBundle:
    def test_there_and_back(self, call: Call, tmp_path: Path, home: Path) -> None:
        path = tmp_path / "bundle.zip"
        result = call("device", "bundle", "--space", "tiny", "--batch", 1, "--rounds", 2, "-o", path)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{path}\n"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "there")
        subprocess.run([sys.executable, tmp_path / "there" / "profile.py"], check=True, capture_output=True)
        results = tmp_path / "there" / "results.csv"
        back = call("device", "import", results, "--name", "there", "--space", "tiny")
        assert back.exit_code == 0, back.output
        assert re.search(r"derived from \d+ raw times", back.stderr)
        assert "whole networks correct" in back.stderr
        table = Table.read(home / "devices" / "there.json")
        assert table.provenance["batch"] == 1
        assert table.provenance["runtime"] == "onnxruntime"

    def test_bad_input(self, call: Call, tmp_path: Path) -> None:
        give = ("device", "bundle", "-o", tmp_path / "bundle.zip")
        one_error(call(*give, "--space", "tiny", "--runtime", "onxruntime"), "did you mean 'onnxruntime'")
        one_error(call(*give, "--space", "tniy"), "did you mean 'tiny'")
        assert call(*give).exit_code == 2
        assert call(*give, "--space", "tiny", "--rounds", 1).exit_code == 2
        assert list(tmp_path.glob("*.zip")) == []
