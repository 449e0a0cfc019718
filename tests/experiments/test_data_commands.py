"""bitfront data show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

Call = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty images of two classes, one of them broken."""
    rng = np.random.default_rng(0)
    for row in range(60):
        path = tmp_path / "set" / ("cat" if row % 2 else "dog") / f"{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def test_a_published_set(call: Call) -> None:
    result = call("data", "show", "digits")
    assert result.exit_code == 0
    assert "train 898" in result.stdout
    assert "0.305141" in result.stdout


def test_own_files_and_their_sheet(call: Call, folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = call("data", "show", folder, "--json", "--sheet", sheet)
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert values["images"] == {"train": 48, "validation": 6, "test": 6}
    assert [row["class"] for row in values["classes"]] == ["cat", "dog"]
    assert (values["size"], values["channels"]) == (6, 3)
    with Image.open(sheet) as image:
        assert image.size == ((2 * 8 * 6 + 3) * 8, 2 * 6 * 8)
        pixels = np.asarray(image)[::8, ::8]
    # Nothing is varied, so that both halves are alike.
    np.testing.assert_allclose(pixels[:, :48].astype(int), pixels[:, 51:].astype(int), atol=1)


def test_broken_images_are_told_or_refused(call: Call, folder: Path) -> None:
    (folder / "cat" / "01.png").write_bytes(b"broken")
    result = call("data", "show", folder)
    assert result.exit_code == 1
    assert "1 of 60 images" in result.stderr
    assert "cat/01.png" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "kind"), [("a.npz", "npz"), ("a.parquet", "parquet"), ("a.tar.xz", "tar"), ("a.bin", "tar")]
)
def test_the_kind_is_seen_from_the_file(call: Call, tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    result = call("data", "show", tmp_path / name)
    assert result.exit_code == 1
    assert kind in result.stderr


def test_the_kind_is_seen_from_the_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    assert "no folder of IDX files" in call("data", "show", tmp_path).stderr
    (tmp_path / "train-images-idx3-ubyte").rename(tmp_path / "train.parquet")
    assert "can not be read as parquet" in call("data", "show", tmp_path).stderr
    (tmp_path / "train.parquet").unlink()
    assert "there are no images" in call("data", "show", tmp_path).stderr


def test_what_is_not_there(call: Call, tmp_path: Path) -> None:
    result = call("data", "show", "digitz")
    assert result.exit_code == 1
    assert "did you mean 'digits'" in result.stderr
    assert call("data", "show", "digits", "--sheet", tmp_path / "a.jpg").exit_code == 2
