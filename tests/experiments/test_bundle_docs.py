"""docs/export.md tells every field of a manifest, every format, and every check."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from bitfront.experiments.bundle import manifest as of
from bitfront.experiments.bundle.forms import format_names
from bitfront.experiments.bundle.names import read_sums
from bitfront.experiments.bundle.verify import verify

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()


def words(heading: str) -> set[str]:
    """What stands in code marks in a section."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section
    return set(re.findall(r"`([^`\n]+)`", section))


def test_every_field_of_a_manifest_is_told() -> None:
    told = words("The manifest")
    models: list[type[BaseModel]] = [of.Manifest, of.FormEntry, of.Tested]
    for model in models:
        assert set(model.model_fields) <= told, model
    for name, field in of.Manifest.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(field.annotation.model_fields) <= told, name


def test_every_format_and_file_is_told(exported_all: Path) -> None:
    assert set(format_names()) <= words("Forms")
    told = words("Forms") | words("In a bundle")
    for name in read_sums((exported_all / "SHA256SUMS").read_text()):
        example = re.sub(r"example_\w+", "example_c", name)
        assert {name, example, f"{name.partition('/')[0]}/"} & told, name


def test_every_check_is_told(exported_all: Path) -> None:
    section = TEXT.partition("\n## Is it what it says?\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE))
    for check in verify(exported_all):
        name = re.sub(rf"^({'|'.join(format_names())}):", "FORM:", check.name)
        name = "manifest" if name == "manifest and files" else name
        assert name in told or check.name in ("data", "pictures", "search"), check.name
