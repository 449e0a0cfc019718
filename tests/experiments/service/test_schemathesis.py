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
EACH = 170
LEAST = 5000
_FORM = {"type", "message", "rule", "fix", "where", "problems", "id"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::Warning")
def test_whatever_is_asked_is_answered(
    serve: Callable[[Settings], TestClient],
    settings_of_cases: Settings,
    store: Store,
    done: Experiment,
) -> None:
    app: Any = serve(settings_of_cases).app
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers={"Host": "127.0.0.1:8317"})
    asked: list[int] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        _ask_often(operation, store, done, asked)
    assert len(asked) >= LEAST
    assert not [status for status in asked if status >= 500]
    # Not all of it is refused: what is allowed is answered, too.
    assert {200, 202, 401, 404, 409, 422, 429} <= set(asked)
    assert sum(status < 300 for status in asked) > LEAST // 4
    assert sum(status in (401, 403, 429) for status in asked) < len(asked) // 3
    assert store.get(done.id).status.is_over


@pytest.fixture
def settings_of_cases(settings: Settings) -> Settings:
    """Without jobs: a process for each of thousands of uploads says nothing that `test_uploads` does not."""
    return replace(settings, most_jobs=0)


def _mean(case: Any, experiment_id: str, number: int) -> None:
    """Let a case be about an experiment, a candidate or a device that is there."""
    there = {"experiment_id": experiment_id, "candidate_id": number // 2 % 6, "name": "bitfusion"}
    for name in (case.path_parameters or {}).keys() & there.keys():
        case.path_parameters[name] = there[name]
    if case.query and "experiments" in case.query:
        case.query["experiments"] = experiment_id


def _ask_often(operation: Any, store: Store, done: Experiment, asked: list[int]) -> None:
    from hypothesis import given

    mode = schemathesis.GenerationMode

    @given(
        case=operation.as_strategy(generation_mode=mode.POSITIVE)
        | operation.as_strategy(generation_mode=mode.NEGATIVE)
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
        if len(asked) % 2:  # half of the cases are about what is there: random ids never are
            one = store.create_experiment("gone", done.spec, 0) if operation.method == "delete" else done
            _mean(case, one.id, len(asked))
        if len(asked) % 4:  # made-up tokens come no further than the door, and here none is needed
            for name in [one for one in (case.headers or {}) if one.lower() == "authorization"]:
                del case.headers[name]
        answer = case.call(headers={"Host": "127.0.0.1:8317"})
        asked.append(answer.status_code)
        assert answer.status_code < 500, (operation.label, answer.text)
        if answer.status_code >= 400 and operation.method != "head":
            error = json.loads(answer.content)["error"]
            assert set(error) == _FORM, operation.label

    ask()
