"""Files of results: what is written is read back, and what was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bitfront.experiments.results.record import Found, Record, _digest
from bitfront.supernet.errors import CorruptFileError


def changed(folder: Path, sealed: bool, **values: Any) -> None:
    """Change parts of a file; ``sealed``: with a digest that fits, as somebody who knows how it is made."""
    path = folder / "first.json"
    whole = {**json.loads(path.read_text()), **values}
    if sealed:
        whole["sha256"] = _digest(
            {name: value for name, value in whole.items() if name not in ("format", "sha256")}
        )
    path.write_text(json.dumps(whole))


def test_what_is_written_is_read_back(kept: Path) -> None:
    record = Record.read(kept, "first")
    assert record is not None
    assert record.found is not None
    assert [goal.holds for goal in record.found.goals] == [True, False]
    record.write(kept)
    assert Record.read(kept, "first") == record
    assert Record.read(kept, "second") is None


@given(st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False)))
def test_figures_keep_every_digit(figures: dict[str, float]) -> None:
    found = Found(seeds=1, figures=figures, goals=())
    assert Found.model_validate_json(found.model_dump_json()) == found


class TestRefused:
    @pytest.mark.parametrize(
        "values",
        [
            {"seconds": 1.0},
            {"sha256": "00"},
            {"more": 1},
            {"found": {"seeds": 3, "figures": {"bitfusion_ratio": 9.0}, "goals": []}},
        ],
    )
    def test_a_file_that_was_changed(self, kept: Path, values: dict[str, Any]) -> None:
        changed(kept, sealed=False, **values)
        with pytest.raises(CorruptFileError, match=r"first\.json was changed after it was written"):
            Record.read(kept, "first")

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({"more": 1}, "more: Extra inputs"),
            ({"seconds": -1}, "seconds: "),
            ({"started_at": "2026-01-01T00:00:00"}, "started_at: "),
            ({"error": "but it found something"}, "either have found something or have an error"),
            ({"found": None}, "either have found something or have an error"),
            ({"pictures": {"../x.png": "ab"}}, "not named after the benchmark"),
            ({"pictures": {"second-x.png": "ab"}}, "not named after the benchmark"),
            ({"found": {"seeds": 0, "figures": {}, "goals": []}}, "found.seeds: "),
            (
                {"found": {"seeds": 1, "figures": {"a": 1.0},
                           "goals": [{"figure": "a", "goal": ">= 2", "value": 1.0, "holds": True}]}},
                "goal a >= 2 is not what the figures say of it",
            ),
            (
                {"found": {"seeds": 1, "figures": {"a": 1.0},
                           "goals": [{"figure": "b", "goal": ">= 2", "value": 1.0, "holds": True}]}},
                "must read FIGURE >= NUMBER",
            ),
        ],
    )  # fmt: skip
    def test_a_file_that_makes_no_sense(self, kept: Path, values: dict[str, Any], told: str) -> None:
        changed(kept, sealed=True, **values)
        with pytest.raises(CorruptFileError) as caught:
            Record.read(kept, "first")
        assert told in str(caught.value)
        assert "delete it" in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "is not valid JSON"),
            ("[]", "is no bitfront-result-1"),
            ('{"format": "bitfront-result-2"}', "is no bitfront-result-1"),
            ('{"bench": "first", "figures": {}}', "is no bitfront-result-1"),
        ],
    )
    def test_a_file_that_is_another_one(self, kept: Path, text: str, told: str) -> None:
        (kept / "first.json").write_text(text)
        with pytest.raises(CorruptFileError, match=told):
            Record.read(kept, "first")

    def test_a_file_of_another_benchmark(self, kept: Path) -> None:
        (kept / "first.json").rename(kept / "second.json")
        with pytest.raises(CorruptFileError, match=r"second\.json tells of 'first'"):
            Record.read(kept, "second")

    def test_a_picture_that_is_another_one_or_none(self, kept: Path) -> None:
        picture = kept / "first-fronts.png"
        picture.write_bytes(picture.read_bytes() + b".")
        with pytest.raises(CorruptFileError, match="not the picture that was drawn"):
            Record.read(kept, "first")
        picture.unlink()
        with pytest.raises(CorruptFileError, match="is missing: run first again"):
            Record.read(kept, "first")

    def test_figures_that_are_none(self) -> None:
        with pytest.raises(ValidationError):
            Found(seeds=1, figures={"a": float("nan")}, goals=())
