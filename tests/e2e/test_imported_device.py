"""Somebody's table as the target of an experiment: imported, named in a spec, searched, shown and exported."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bitfront.experiments.cli import app

SPEC = """
space: digits
data: digits
device: {device}
objectives: [top1, latency_ms, energy_mj]
seed: 3
supernet: {{warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}}
samples: {{fp32: 10, quantized: 10, held_out: 10}}
search: {{population: 20, generations: 4}}
front: {{measure: 5}}
export: {{pick: none}}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run one command in this process, in a home of its own."""
    monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "home"))
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def launch(call: Callable[..., Result], path: Path, device: str) -> str:
    path.write_text(SPEC.format(device=device))
    result = call("run", path)
    assert result.exit_code == 0, result.output
    return str(result.stdout.splitlines()[0])


@pytest.mark.slow
def test_an_imported_device_is_a_device(call: Callable[..., Result], tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    assert call("device", "export", "bitfusion", "--space", "digits", "-o", whole).exit_code == 0
    # A table with gaps: the resolution of 12 pixels, and all blocks with 24 hidden channels, are unknown.
    lines = whole.read_text().splitlines(keepends=True)
    part.write_text(
        "".join(line for line in lines if "depthwise(24>24" not in line and not re.search("stem.*12px", line))
    )
    assert call("device", "import", part, "--name", "my-phone", "--space", "digits").exit_code == 0

    one = launch(call, tmp_path / "spec.yaml", "my-phone")
    rows = json.loads(call("front", one, "--json", "--all").stdout)
    assert rows
    for row in rows:
        assert row["architecture"].split()[0] in ("r6", "r8")
        assert 24 not in {layer["width"] for layer in row["policy"] if layer["op"] == "depthwise"}
        assert {layer["weight_format"] for layer in row["policy"]} <= {"int4", "int6", "int8"}
        assert row["predicted"]["latency_ms"] > 0
        assert row["measured"]["latency_ms"] is None

    assert [row["id"] for row in json.loads(call("ls", "--json").stdout)] == [one]
    shown = json.loads(call("show", one, "--json").stdout)
    assert shown["table"]["device"] == "my-phone"
    assert shown["table"]["provenance"]["profile"] == "released"  # what the file said of itself
    assert "COMPLETED" in call("resume", one).stderr
    exported = call("export", one, "--candidate", rows[0]["candidate"], "-o", tmp_path / "out")
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "out" / "model.onnx").is_file()

    other = launch(call, tmp_path / "spec.yaml", "{name: my-phone, options: {interpolate: true}}")
    assert json.loads(call("show", other, "--json").stdout)["table"]["id"] != shown["table"]["id"]

    (tmp_path / "misspelt.yaml").write_text(SPEC.format(device="my-fone"))
    refused = call("run", tmp_path / "misspelt.yaml")
    assert refused.exit_code == 1
    assert "did you mean 'my-phone'" in refused.stderr
