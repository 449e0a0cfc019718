"""From a spec to a bundle that somebody else verifies and runs: all by the command line, on digits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bitfront.experiments.cli import app
from bitfront.supernet.export.targets import TARGETS

SPEC = """
space: digits
data: digits
device: bitfusion
fixed: {"*.weight_format": [int8, int4], "*.activation_format": [int8, int6]}
supernet: {warmup_epochs: 2, elastic_epochs: 1, quantized_epochs: 2, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}
samples: {fp32: 10, quantized: 10, held_out: 10}
search: {population: 10, generations: 2}
front: {measure: 3}
export: {format: integer}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run one command."""
    monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.mark.slow
def test_from_a_spec_to_a_verified_bundle(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert call("run", tmp_path / "spec.yaml").exit_code == 0
    shown = json.loads(call("show", "latest", "--json").stdout)
    (first,) = shown["exports"]
    assert first["format"] == "integer"
    assert call("export", "verify", Path(first["path"]).parent, "--data", "digits").exit_code == 0

    bundle = tmp_path / "bundle"
    give = ("export", "latest", "--candidate", first["candidate_id"], "--format", "all", "-o", bundle, "--json")
    (made,) = json.loads(call(*give).stdout)
    assert sorted(form["format"] for form in made["forms"]) == TARGETS.names()
    for form in made["forms"]:
        assert form["tested"]["images"] == form["tested"]["images_of_split"] == 359
        assert form["tested"]["agreement"] > 0.9
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=False).returncode == 0
    named = {
        subprocess.run([sys.executable, path], cwd=bundle, capture_output=True, text=True, check=True).stdout[0]
        for path in bundle.glob("example*.py")
    }
    assert len(named) == 1
    verified = call("export", "verify", bundle, "--data", "digits", "--json")
    assert verified.exit_code == 0, verified.output
    states = {check["name"]: check["state"] for check in json.loads(verified.stdout)["checks"]}
    assert {states[f"{name}: accuracy"] for name in TARGETS.names()} == {"holds"}

    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1])
    assert call("export", "verify", bundle).exit_code == 1
    assert call(*give).exit_code == 0  # what was damaged is replaced
    assert call("export", "verify", bundle).exit_code == 0
