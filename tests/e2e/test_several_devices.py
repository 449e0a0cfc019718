"""Whole experiments for two devices, one modelled and one measured: with one policy, and with one for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bitfront.experiments.cli import app

SPEC = """
space: digits
data: digits
devices: {{phone: bitfusion, cpu: {{name: host-onnxruntime, options: {{rounds: 2}}}}}}
fixed: {{resolution: 8}}
seed: 3
constraints: ["latency_ms@cpu <= 100", "energy_mj@phone <= 100"]
supernet: {{warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}}
samples: {{fp32: 10, quantized: 10, held_out: 10}}
search: {{population: 20, generations: 4, policies: {policies}}}
front: {{measure: 4}}
"""

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run one command in this process, in a home of its own."""
    monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "home"))
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def launched(call: Call, path: Path, policies: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The front's rows, and what `show` tells."""
    path.write_text(SPEC.format(policies=policies))
    result = call("run", path)
    assert result.exit_code == 0, result.output
    one = result.stdout.splitlines()[0]
    return json.loads(call("front", one, "--json", "--all").stdout), json.loads(call("show", one, "--json").stdout)


@pytest.mark.slow
def test_two_devices_with_one_policy_and_with_two(call: Call, tmp_path: Path) -> None:
    rows, shown = launched(call, tmp_path / "spec.yaml", "one")
    assert {name: table["device"] for name, table in shown["tables"].items()} == {
        "phone": "bitfusion",
        "cpu": "host-onnxruntime",
    }
    for row in rows:
        formats = {(layer["weight_format"], layer["activation_format"]) for layer in row["policy"]}
        assert formats == {("int8", "int8")}  # all that both of them execute
        assert row["measured"]["latency_ms@cpu"] > 0
        assert row["measured"]["latency_ms@phone"] is None
        assert row["predicted"]["energy_mj@phone"] > 0
    assert [export["device"] for export in shown["exports"]] == [""]
    assert {"front-phone.html", "front-cpu.png"} <= set(shown["files"])

    rows, own = launched(call, tmp_path / "spec.yaml", "per_device")
    assert own["table_ids"] == shown["table_ids"]
    for row in rows:
        used = {
            name: {one["weight_format"] for one in row["policy"] if one["device"] == name}
            for name in own["tables"]
        }
        assert used["phone"] <= {"int4", "int6", "int8"}
        assert used["cpu"] <= {"fp32", "int8", "int4"}
        assert row["measured"]["latency_ms@cpu"] > 0
        assert {"top1@phone", "top1@cpu", "top1_test@phone", "top1_test@cpu"} <= set(row["measured"])
    files = {export["device"]: Path(export["path"]) for export in own["exports"]}
    assert files.keys() == {"phone", "cpu"}
    for name, path in files.items():
        assert path.is_file()
        layers = json.loads((path.parent / "manifest.json").read_text())["layers"]
        (row,) = [row for row in rows if row["candidate"] == own["exports"][0]["candidate_id"]]
        expected = [one["weight_format"] for one in row["policy"] if one["device"] == name]
        assert [layer["weight_format"] for layer in layers] == expected
