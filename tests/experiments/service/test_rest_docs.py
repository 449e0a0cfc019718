"""docs/rest.md tells every endpoint with its scope, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.refusals import RefusedError

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture
def described(api: TestClient) -> dict[str, Any]:
    """The OpenAPI document."""
    document: dict[str, Any] = api.get("/api/v1/openapi.json").json()
    return document


def test_every_endpoint_is_told(described: dict[str, Any]) -> None:
    rows = re.findall(
        r"^\| (GET|POST|DELETE) \| `([^`]+)` \| (read|write|admin|-) \|", (DOCS / "rest.md").read_text(), re.M
    )
    told = {(method, path) for method, path, _ in rows}
    served = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert told == served
    assert len(rows) == len(told)


def test_every_status_is_told() -> None:
    text = (DOCS / "rest.md").read_text().partition("## Errors")[2]
    for kind in RefusedError.__subclasses__():
        assert str(kind.status) in text, kind


def test_operations_are_named_and_answers_described(described: dict[str, Any]) -> None:
    operations = [one for methods in described["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names) > 25
    for one in operations:
        assert one["description"]
        assert one["responses"]["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
        assert "HTTPValidationError" not in str(one)
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_only_what_watches_needs_no_token(described: dict[str, Any]) -> None:
    free = {
        (method, path)
        for path, methods in described["paths"].items()
        for method, one in methods.items()
        if "security" not in one
    }
    assert free == {
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("post", "/api/v1/session"),
        ("delete", "/api/v1/session"),
    }


@pytest.mark.parametrize("page", ["rest.md", "security.md"])
def test_options_of_commands_are_there(page: str) -> None:
    from typer.testing import CliRunner

    from bitfront.experiments.cli import app

    told = set(re.findall(r"`(--[a-z-]+)[ `A-Z]", (DOCS / page).read_text()))
    helped = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    helped += CliRunner().invoke(app, ["token", "add", "--help"], env={"COLUMNS": "200"}).output
    helped += "--where"  # of bitfront front
    assert told
    assert all(option in helped for option in told)
