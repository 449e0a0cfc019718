"""The scripts of docs/examples, as a user runs them: by themselves, each in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitfront.experiments.bundle.verify import verify

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """What a script prints; warnings are errors, and nobody else's measurements are waited for."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BITFRONT")}
    own |= {"BITFRONT_CACHE": str(folder / "cache"), "TMPDIR": str(folder), "COLUMNS": "120", **environment}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=own,
        text=True,
        check=False,
        capture_output=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ids_of_the_front(printed: str) -> list[str]:
    """The first column of the table."""
    return re.findall(r"^ *(\d+) +0\.\d+ ", printed, re.MULTILINE)


def fails(bundle: Path) -> list[str]:
    return [check.name for check in verify(bundle) if check.state == "fails"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_own_data(tmp_path: Path) -> None:
    printed = run(tmp_path, "-W", "error", str(EXAMPLES / "own_data.py"), "shapes")
    assert len(list((tmp_path / "shapes" / "images").glob("*/*.png"))) == 5 * 150
    found = re.search(r"candidate (\d+) is in .*\n([\d.]+)% of (\d+) test images are named right", printed)
    assert found is not None, printed
    assert found[1] in ids_of_the_front(printed)
    assert int(found[3]) == 150
    assert float(found[2]) > 40  # a guess has 20
    classes = "(disc|ring|square|cross|triangle)"
    assert len(re.findall(rf"^a {classes} is named {classes}$", printed, re.MULTILINE)) == 8
    assert not fails(tmp_path / "shapes" / "model")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_own_device(tmp_path: Path) -> None:
    printed = run(tmp_path, "-W", "error", str(EXAMPLES / "own_device.py"), "mcu")
    found = re.search(r"candidate (\d+) is (.*network\.c): (\d+) bytes of constants", printed)
    assert found is not None, printed
    assert found[1] in ids_of_the_front(printed)
    assert Path(found[2]).is_file()
    manifest = json.loads((tmp_path / "mcu" / "model" / "manifest.json").read_text())
    assert manifest["predicted"]["latency_ms"] <= 8
    assert manifest["device"]["mhz"] == 80  # what the class said of itself went all the way
    assert {layer["activation_format"] for layer in manifest["layers"]} == {"int8"}
    assert not fails(tmp_path / "mcu" / "model")


def test_own_device_by_its_entry_point(tmp_path: Path) -> None:
    """As the script says: in a package that names it, the class is a device of every spec."""
    package = tmp_path / "site"
    described = package / "my_package-1.0.dist-info"
    described.mkdir(parents=True)
    (package / "my_package").mkdir()
    source = (EXAMPLES / "own_device.py").read_text()
    (package / "my_package" / "own_device.py").write_text(source)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    group, name, target = re.search(r'entry-points\."(.*)"\]\n *(\S+) = "(.*)"', source).groups()  # type: ignore[union-attr]
    (described / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    shown = run(
        tmp_path, "-m", "bitfront.experiments.cli",
        "device", "show", name, "--space", "digits", "--option", "mhz=16",
        PYTHONPATH=os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]),
    )  # fmt: skip
    assert "int4" in shown
    assert "mhz" in shown
