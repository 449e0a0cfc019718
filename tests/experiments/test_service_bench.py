"""`bitfront bench service`: small, it asks everything that it asks in full."""

from __future__ import annotations

import pytest

from bitfront.experiments.benchmarks import service
from bitfront.experiments.reporter import Reporters


@pytest.mark.slow
@pytest.mark.postgres
def test_a_quick_run_answers_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_page", lambda *_: {"page_drawn_seconds": 1.0})
    result = service.run(quick=True, seeds=1, reporter=Reporters())
    for kind in ("sqlite", "postgresql"):
        for name in ("front", "filtered", "candidate_page", "compare", "devices_filtered", "readers"):
            assert 0 < result.figures[f"{kind}_{name}_ms_p95"] < 20_000, name
        assert result.figures[f"{kind}_searches_that_failed"] == 0
        assert result.figures[f"{kind}_stored_per_second"] > 100
    assert {goal.figure for goal in result.goals} <= result.figures.keys()
