"""`bitfront results run` and `page`, and a quick run of every claim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.results import claims as listed
from bitfront.experiments.results import runner as running
from bitfront.experiments.results.claim import Claim
from bitfront.experiments.results.page import records_in

Call = Callable[..., Result]


@pytest.fixture
def made_up(fakes: Any, claims: tuple[Claim, ...], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command knows made-up claims alone."""
    monkeypatch.setattr(listed, "CLAIMS", claims)
    monkeypatch.setattr(running, "Runner", lambda folder, keep, say, jobs: fakes.runner(folder, keep, jobs))
    return fakes


class TestCommands:
    def test_run_and_page(self, call: Call, made_up: Any, claims: tuple[Claim, ...], tmp_path: Path) -> None:
        folder = tmp_path / "docs" / "results"
        result = call("results", "run", "-o", folder, "--jobs", 2)
        assert (result.exit_code, result.stdout) == (0, "")
        assert {record.jobs for record in records_in(folder, claims).values()} == {2}
        assert set(records_in(folder, claims)) == {"first", "second"}
        assert call("results", "page", folder).exit_code == 0
        text = (tmp_path / "docs" / "results.md").read_text()
        assert "(results/first-front.png)" in text
        call("results", "page", folder, "-o", tmp_path / "elsewhere" / "page.md")
        assert "(../docs/results/first-front.png)" in (tmp_path / "elsewhere" / "page.md").read_text()

    def test_one_alone(self, call: Call, made_up: Any, tmp_path: Path) -> None:
        assert call("results", "run", "--only", "second", "-o", tmp_path / "r").exit_code == 0
        assert (made_up.runs("first"), made_up.runs("second")) == (0, 1)
        result = call("results", "run", "--only", "secnd")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: unknown benchmark of a claim 'secnd': did you mean 'second'?")

    def test_a_failure_is_in_the_exit_code_and_on_the_page(self, call: Call, made_up: Any, home: Path) -> None:
        made_up.bodies["first"] = "import os; os._exit(9)"
        result = call("results", "run", "--quick")
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == "error: failed: first"
        assert call("results", "page", home / "results-quick").exit_code == 0
        assert "**FAILED** (quick run)" in (home / "results.md").read_text()

    def test_no_folder(self, call: Call, tmp_path: Path) -> None:
        result = call("results", "page", tmp_path / "none")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: there is no folder {tmp_path / 'none'}: ")

    def test_a_damaged_file(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "joint.json").write_text("{}")
        result = call("results", "page", tmp_path)
        assert result.exit_code == 1
        assert "joint.json is no bitfront-result-1" in result.stderr
        assert not (tmp_path.parent / "results.md").exists()
