"""`bitfront space`: what there is to be searched, for people and for programs."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bitfront.experiments.space_tables import choices_in_words, power_of_ten, scaled
from bitfront.supernet.spaces import SPACES

Call = Callable[..., Result]
HEAVY = {"torch", "ray", "sklearn", "pandas", "pymoo", "onnxruntime"}
DOCUMENT = """
family: mbconv
stem_channels: 8
stem_stride: 1
stages:
  - {out_channels: 12, stride: 2, depths: [1, 2], widths: [8, 16], kernels: [3, 5]}
head_channels: 16
resolutions: [8]
weight_formats: [fp32, int8]
activation_formats: [fp32, int8]
end_formats: [fp32, int8]
"""


class TestLs:
    def test_for_programs(self, call: Call) -> None:
        rows = {row["name"]: row for row in json.loads(call("space", "ls", "--json").stdout)}
        assert sorted(rows) == SPACES.names()
        digits = SPACES.get("digits")()
        assert rows["digits"]["genes"] == digits.n_genes
        assert rows["digits"]["log10_networks"] == pytest.approx(math.log10(digits.size()))
        assert rows["digits"]["resolutions"] == [6, 8, 12]
        assert rows["mobilenet_v3"]["options"] == {"classes": 1000, "in_channels": 3, "width_multiplier": 1.0}
        assert {row["problem"] for row in rows.values()} == {None}

    def test_for_people(self, call: Call) -> None:
        text = call("space", "ls").stdout
        for name in SPACES.names():
            assert re.search(rf"^{name} ", text, re.MULTILINE)

    def test_one_that_can_not_be_built_hides_no_other(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(SPACES._targets, "third", "no.such.module:space")
        rows = {row["name"]: row for row in json.loads(call("space", "ls", "--json").stdout)}
        assert "No module named" in rows["third"]["problem"]
        assert rows["digits"]["problem"] is None
        assert "can not be used" in call("space", "ls").stdout


class TestShow:
    @pytest.mark.parametrize("name", SPACES.names())
    def test_for_programs(self, call: Call, name: str) -> None:
        values = json.loads(call("space", "show", name, "--json", "--samples", "30").stdout)
        space = SPACES.get(name)()
        assert int(values["networks"]) == space.size()
        assert values["hash"] == space.hash()
        assert sum(values["encoding"].values()) == space.encoding_width
        assert sum(row["count"] for row in values["genes"]) == space.n_genes
        smallest, largest = (sum(layer.macs for layer in space.layers(one)) for one in space.extremes())
        assert (values["figures"]["macs"]["least"], values["figures"]["macs"]["most"]) == (smallest, largest)
        for figures in values["figures"].values():
            assert figures["least"] < figures["median"] < figures["most"]

    def test_for_people(self, call: Call) -> None:
        text = call("space", "show", "proxyless").stdout
        for words in (
            r"networks +8\.14 x 10\^74",
            r"exactly +813 899 129",
            "537 columns of architecture and 256 of formats",
            r"21 that forbid combinations",
            r"stage\*\.block\*\.kernel +21 x +3 5 7",
            r"stage4\.block\[1-3\]\.width +3 x +768 776 \.\. 1152 \(49 choices\)",
            r"multiply-accumulates +191 M +\d+ M +607 M",
        ):
            assert re.search(words, text), words

    def test_options_count(self, call: Call) -> None:
        arguments = ("space", "show", "mobilenet_v3", "--json", "--samples", "5")
        usual = json.loads(call(*arguments).stdout)
        wide = json.loads(call(*arguments, "--option", "width_multiplier=1.2").stdout)
        assert wide["options"]["width_multiplier"] == 1.2
        assert wide["figures"]["parameters"]["most"] > 1.3 * usual["figures"]["parameters"]["most"]

    @pytest.mark.parametrize("ends", ["", "classes: 4\nin_channels: 1\n"])
    def test_ones_own_file(self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
        (tmp_path / "mine.yaml").write_text(ends + DOCUMENT)
        monkeypatch.chdir(tmp_path)
        result = call("space", "show", "mine.yaml", "--json", "--samples", "10")
        values = json.loads(result.stdout)
        assert values["name"] == "mine"
        assert values["options"] == (
            {"classes": 4, "in_channels": 1} if ends else {"classes": 1000, "in_channels": 3}
        )

    def test_a_device_takes_ones_own_file(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(DOCUMENT)
        result = call("device", "show", "roofline", "--space", tmp_path / "mine.yaml", "--json")
        assert json.loads(result.stdout)["space"]["name"] == "mine"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("digit",), "unknown space 'digit': did you mean 'digits'"),
            (("none.yaml",), "none.yaml can not be read"),
            (("digits", "--option", "size=3"), "unknown option of space 'digits' 'size'"),
            (("digits", "--option", "classes=0"), "classes = 0: must be greater than 0"),
        ],
    )
    def test_errors_are_one_line_of_words(self, call: Call, arguments: tuple[str, ...], words: str) -> None:
        result = call("space", "show", *arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert words in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr


def test_help_loads_nothing_heavy() -> None:
    command = ["-X", "importtime", "-m", "bitfront.experiments.cli", "space", "show", "--help"]
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert imported & HEAVY == set()


class TestWords:
    def test_powers_of_ten(self) -> None:
        assert power_of_ten(math.log10(814)) == "8.14 x 10^2"

    @pytest.mark.parametrize(
        ("value", "text"), [(12.0, "12"), (5110.0, "5.11 k"), (5.114e6, "5.11 M"), (7.49e9, "7.49 G")]
    )
    def test_figures(self, value: float, text: str) -> None:
        assert scaled(value) == text

    def test_choices(self) -> None:
        assert choices_in_words((3, 5, 7)) == "3 5 7"
        assert choices_in_words(tuple(range(8, 101, 8))) == "8 16 .. 96 (12 choices)"
        assert choices_in_words((1, 2, 4, 8, 16, 32, 64, 128, 256)) == "1 2 4 8 .. 256 (9 choices)"
