"""What a service says of itself while it serves: every request, in the form that was asked for."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from bitfront.experiments.service.tokens import token_hash
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.sql import SqlStore


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _served(home: Path, *options: str) -> list[str]:
    """The lines of a service that was asked for /healthz with a query, once it and its worker were up."""
    port, log = _free_port(), home.parent / "log.txt"
    command = [sys.executable, "-m", "bitfront.experiments.cli", "serve", "--port", str(port), *options]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stderr=out, env={**os.environ, "BITFRONT_HOME": str(home)}) as process,
    ):
        try:
            _until_up(f"http://127.0.0.1:{port}/healthz?secret=swordfish", log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(90)
    return log.read_text().splitlines()


def _until_up(url: str, log: Path) -> None:
    ends = time.monotonic() + 90
    while time.monotonic() < ends:
        time.sleep(0.3)
        try:
            up = httpx.get(url).status_code == 200
        except httpx.TransportError:
            continue
        if up and "takes what is queued" in log.read_text():
            return
    pytest.fail(f"it does not serve: {log.read_text()}")


@pytest.mark.slow
def test_a_service_logs_every_request_as_json(home: Path) -> None:
    lines = _served(home, "--log-format", "json")
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]  # every line, the worker's as well
    request = next(one for one in told if one.get("path") == "/healthz")
    assert (request["method"], request["status"], request["level"]) == ("GET", 200, "info")
    assert request["ms"] >= 0
    assert {one["logger"].split(".")[0] for one in told} >= {"bitfront", "uvicorn"}
    assert any(one["logger"].startswith("bitfront.experiments.worker") for one in told)
    assert any("serves at http://127.0.0.1:" in one["message"] for one in told)
    assert "swordfish" not in "".join(lines)


@pytest.mark.slow
def test_a_service_logs_for_people_by_default(home: Path) -> None:
    lines = _served(home)
    request = next(line for line in lines if "/healthz" in line)
    assert " info GET /healthz 200 in " in request
    assert request.endswith(" ms")


def test_a_request_is_one_line_with_who_asked(
    api: TestClient, token: Any, caplog: pytest.LogCaptureFixture, done: Experiment
) -> None:
    headers = token("read")
    with caplog.at_level(logging.INFO, "bitfront.service"):
        api.get(f"/api/v1/experiments/{done.id}", headers=headers)
    (line,) = [one for one in caplog.records if one.name == "bitfront.service"]
    assert "GET " in line.getMessage()
    assert line.getMessage().endswith(" ms by a-read-token")
    assert done.id not in line.getMessage()
    assert vars(line)["who"] == "a-read-token"


def test_what_the_store_was_given_is_not_logged(
    api: TestClient, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A statement that fails is logged without its parameters: hashes of tokens are among them."""
    assert isinstance(store, SqlStore)
    with store._engine.begin() as connection:
        connection.execute(text("ALTER TABLE tokens RENAME TO tokens_that_were"))
    with caplog.at_level(logging.DEBUG):
        answer = api.get("/api/v1/experiments", headers={"Authorization": "Bearer swordfish"})
    assert answer.status_code in (500, 503)
    assert "tokens" in caplog.text  # the statement is there
    assert token_hash("swordfish") not in caplog.text
    assert "swordfish" not in caplog.text
