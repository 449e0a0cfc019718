"""What the OpenAPI document allows, and what it does not, thousands of times: no 5xx, one form of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings

from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment

schemathesis = pytest.importorskip("schemathesis")
EACH = 160
LEAST = 5000
_FORM = {"type", "message", "rule", "fix", "where", "problems", "id"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::Warning")
def test_whatever_is_asked_is_answered(
    serve: Callable[[Settings], TestClient], settings_of_cases: Settings, store: Store, done: Experiment
) -> None:
    app: Any = serve(settings_of_cases).app
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers={"Host": "127.0.0.1:8317"})
    asked: list[int] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        _ask_often(operation, done.id, asked)
    assert len(asked) >= LEAST
    assert not [status for status in asked if status >= 500]
    # Not all of it is refused: what is allowed is answered, too.
    assert sum(status < 300 for status in asked) > LEAST // 20
    assert store.get(done.id).status.is_over


@pytest.fixture
def settings_of_cases(settings: Settings) -> Settings:
    """Without jobs: a process for each of thousands of uploads says nothing that `test_uploads` does not."""
    return replace(settings, most_jobs=0)


def _ask_often(operation: Any, experiment_id: str, asked: list[int]) -> None:
    from hypothesis import given

    @given(
        case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE) | operation.as_strategy()
    )
    @settings(
        max_examples=EACH,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        derandomize=True,
        database=None,
    )
    def ask(case: Any) -> None:
        parameters = case.path_parameters or {}
        # Half of the cases are about what is there: random ids never are. It is not deleted on the way.
        if "experiment_id" in parameters and len(asked) % 2 and operation.method != "delete":
            parameters["experiment_id"] = experiment_id
        answer = case.call(headers={"Host": "127.0.0.1:8317"})
        asked.append(answer.status_code)
        assert answer.status_code < 500, (operation.label, answer.text)
        if answer.status_code >= 400 and operation.method != "head":
            error = json.loads(answer.content)["error"]
            assert set(error) == _FORM, operation.label

    ask()
