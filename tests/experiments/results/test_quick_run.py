"""Every claim's benchmark, run in small by the command that people give: where all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import Result

from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.page import records_in
from bitfront.experiments.results.record import Found, Record

_MOST_CPU_SECONDS = 600.0
"""People are told that it takes ten minutes; processor time is what other work on a machine changes least."""

Call = Callable[..., Result]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_claim_is_tested_and_told(
    call: Call, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # nobody else measures there, so that nobody is waited for
    result = call("results", "run", "--quick")
    assert result.exit_code == 0, result.stderr
    records = records_in(home / "results-quick", CLAIMS)
    assert set(records) == {claim.bench for claim in CLAIMS}
    for claim in CLAIMS:
        found = _found(records[claim.bench])
        assert found.goals
        assert claim.rows(found.figures)
        assert all(claim.row(goal.figure) for goal in found.goals), "a reader sees labels, not names"
        assert records[claim.bench].pictures
    assert sum(record.cpu_seconds for record in records.values()) < _MOST_CPU_SECONDS
    _search_cost_pays_for_all(_found(records["search-cost"]).figures)
    _rivals_run_but_those_to_be_installed(_found(records["rivals"]))
    assert call("results", "page", home / "results-quick").exit_code == 0
    page = (home / "results.md").read_text()
    assert all(f"](results-quick/{name})" in page for record in records.values() for name in record.pictures)
    assert "not run" not in page


def _found(record: Record) -> Found:
    assert record.found is not None
    return record.found


def _search_cost_pays_for_all(figures: Mapping[str, float]) -> None:
    assert figures["once_training_in_this_run"] == 1.0
    assert figures["once_samples_seconds"] > 0
    pieces = [figures[f"{piece}_seconds_per_device"] for piece in ("found", "table", "search", "measuring")]
    assert all(piece > 0 for piece in pieces)
    assert sum(pieces) == pytest.approx(figures["devices_4_seconds"] / 4)


def _rivals_run_but_those_to_be_installed(found: Found) -> None:
    ran = {name: found.figures[f"{name}_ran"] for name in ("ort_int8", "nncf", "dynast_linas")}
    assert ran == {"ort_int8": 1.0, "nncf": 0.0, "dynast_linas": 0.0}
    assert {"ours_over_ort_int8_gain", "ours_over_optuna_nsga2_gain"} <= {goal.figure for goal in found.goals}
