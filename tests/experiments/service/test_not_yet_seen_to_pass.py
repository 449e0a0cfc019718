"""Files that are sent: kept whole or not at all, whatever they are and whatever they are called."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from fastapi.testclient import TestClient

from bitfront.experiments.service.jobs import Jobs
from bitfront.experiments.service.settings import Settings
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.imports.own import write_csv
from bitfront.predictors import stored
from bitfront.supernet.files import save_tensors
from bitfront.supernet.spaces import SPACES

Refused = Callable[[httpx.Response, int], dict[str, Any]]
Serve = Callable[[Settings], TestClient]
TABLES = "/api/v1/tables"
PREDICTORS = "/api/v1/predictors"
TRAVERSALS = ["../x", "..", "a/b", "a\\b", "/etc/passwd", "x\x00", ".hidden", "", "x" * 200, "a b", "é", "x\n"]


def _table(space: str, folder: Path) -> bytes:
    whole = SPACES.get(space)()
    table = DEVICES.get("bitfusion")().table(whole, None, np.random.default_rng(0))
    write_csv(table, folder / "sent.csv")
    return (folder / "sent.csv").read_bytes()


@pytest.mark.slow
def test_a_table_becomes_a_device(api: TestClient, tmp_path: Path, settings: Settings, refused: Refused) -> None:
    data = _table("digits", tmp_path)
    query = {"name": "phone", "space": "digits"}
    answer = api.post(TABLES, params=query, content=data)
    assert answer.status_code == 201, answer.text
    assert answer.json()["size_bytes"] == len(data)
    assert "phone" in {one["name"] for one in api.get("/api/v1/devices").json()["items"]}
    shown = api.get("/api/v1/devices/phone")
    assert shown.json()["options"] == {"interpolate": False}
    assert str(settings.home) not in shown.text
    spec = {"space": "digits", "data": "digits", "device": "phone"}
    assert api.post("/api/v1/specs/check", json=spec).status_code == 200
    refused(api.post(TABLES, params=query, content=data), 409)


from bitfront.experiments.client import Client
from bitfront.experiments.store.records import Experiment
from bitfront.supernet.errors import BitfrontError


@pytest.mark.slow
def test_an_export_that_fails_is_told(api: TestClient, done: Experiment, tmp_path: Path) -> None:
    """The made-up supernet has no weights, which only the export's own process sees."""
    with (
        Client("http://127.0.0.1:8317", transport=api._transport) as client,
        pytest.raises(BitfrontError, match="was not exported"),
    ):
        client.export(done.id, 1, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
