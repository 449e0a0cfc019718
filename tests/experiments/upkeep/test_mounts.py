"""What is mounted where, as Linux tells it."""

from pathlib import Path

import pytest

from bitfront.experiments.upkeep import mounts
from bitfront.experiments.upkeep.mounts import mounts_inside


def test_places_below_a_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "a home"
    blank = str(home).replace(" ", r"\040")
    places = ["/", str(tmp_path), blank, rf"{blank}/b\134c", f"{blank}/x/ü", f"{blank}-2/y", f"{blank}/x/ü"]
    lines = [f"{i} 1 8:1 / {place} rw,relatime shared:1 - ext4 /dev/a rw" for i, place in enumerate(places)]
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    assert mounts_inside(home) == [home / r"b\c", home / "x" / "ü"]
    (tmp_path / "link").symlink_to(home)
    home.mkdir()
    assert mounts_inside(tmp_path / "link") == [home / r"b\c", home / "x" / "ü"]


def test_this_machine_tells() -> None:
    assert Path("/proc") in mounts_inside(Path("/"))


def test_a_machine_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mounts_inside(Path("/")) == []
