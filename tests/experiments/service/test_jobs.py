"""Commands of the service: what they say when they fail, to whom, and where the rest of it is."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Gauge

from bitfront.experiments.service.jobs import Job, JobError, JobFailedError, Jobs
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.service.told import file_names_only, without_folders
from bitfront.experiments.store.errors import ConflictError

Refused = Callable[[httpx.Response, int], dict[str, Any]]
Script = Callable[[str], None]
UNEXPECTED = "error: ValueError: odd /srv/x.py (bitfront did not expect this); the traceback is in /srv/crash.log"
NO_ROOM = f"error: can not write /srv/home/devices/x.json: {os.strerror(errno.ENOSPC)}"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Have commands of jobs run a shell script instead."""

    def put(text: str) -> None:
        path = tmp_path / "command"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))

    return put


def _jobs(home: Path, seconds: float = 20.0) -> Jobs:
    return Jobs(home, 2, seconds, 2**33, Gauge("jobs", "Jobs.", registry=CollectorRegistry()))


def _over(job: Job) -> str:
    assert job.done.wait(20)
    return job.error


def test_what_a_command_says_is_told_without_folders(
    home: Path, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script("echo 'error: /srv/home/devices/x.csv has no header: begin with kind,key' >&2; exit 1")
    with caplog.at_level(logging.INFO, "bitfront.service"), pytest.raises(JobError) as caught:
        _jobs(home).run(["device"])
    assert str(caught.value) == "x.csv has no header: begin with kind,key"
    assert not isinstance(caught.value, JobFailedError)
    assert "/srv/home/devices/x.csv" in caplog.text
    job = _jobs(home).start(("x",), ["export"])
    assert _over(job) == "x.csv has no header: begin with kind,key"


@pytest.mark.parametrize(
    "end", [f"echo '{UNEXPECTED}' >&2; exit 1", f"echo '{NO_ROOM}' >&2; exit 1", "kill -9 $$"]
)
def test_what_nobody_expected_is_in_the_log(
    home: Path, script: Script, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    script(f"echo 'a traceback' >&2; {end}")
    with caplog.at_level(logging.ERROR, "bitfront.service"):
        error = _over(_jobs(home).start(("x",), ["export"]))
    (number,) = re.findall("[0-9a-f]{16}", error)
    assert "/srv" not in error
    (record,) = caplog.records
    assert number in record.getMessage()
    assert "a traceback" in record.getMessage()
    assert vars(record)["error_id"] == number


def test_what_takes_too_long_is_ended_and_logged(
    home: Path, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script("echo begun >&2; exec sleep 60")
    with pytest.raises(JobFailedError, match=r"longer than 1 s.*service's log"):
        _jobs(home, 1.0).run(["device"])
    assert "begun" in caplog.text


def test_what_can_not_even_be_started_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    error = _over(_jobs(home).start(("x",), ["export"]))
    assert "could not be run" in error
    assert "/nowhere" not in error
    assert "/nowhere/python" in caplog.text


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("echo 'error: line 3 is no cost: give a number' >&2; exit 1", 422),
        ("echo 'error: MemoryError (bitfront did not expect this)' >&2; exit 1", 422),
        ("echo 'terminate called after throwing std::bad_alloc' >&2; kill -6 $$", 422),
        (f"echo '{UNEXPECTED}' >&2; exit 1", 503),
        (f"echo '{NO_ROOM}' >&2; exit 1", 503),
        ("kill -9 $$", 503),
        ("exec sleep 60", 503),
    ],
)
def test_only_what_is_wrong_with_a_table_is_blamed_on_it(
    serve: Callable[[Settings], TestClient],
    settings: Settings,
    script: Script,
    refused: Refused,
    end: str,
    status: int,
) -> None:
    script(end)
    client = serve(replace(settings, job_seconds=1.0))
    answer = client.post("/api/v1/tables", params={"name": "x", "space": "digits"}, content=b"kind,key\n")
    error = refused(answer, status)
    assert "/srv" not in answer.text
    if status == 503:
        assert answer.headers["Retry-After"]
        assert re.search("[0-9a-f]{16}", error["fix"])


def test_the_same_with_other_options_is_not_the_same(home: Path, script: Script) -> None:
    script("exec sleep 60")
    jobs = _jobs(home)
    job = jobs.start(("x",), ["export", "--finetune-epochs=1"])
    assert jobs.start(("x",), ["export", "--finetune-epochs=1"]) is job
    with pytest.raises(ConflictError, match="other options"):
        jobs.start(("x",), ["export", "--finetune-epochs=2"])
    while not job.done.wait(0.2):  # as soon as it has begun
        jobs.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/home/x.csv is missing: give /tmp/y.json", "x.csv is missing: give y.json"),
        ("'/etc/passwd.yaml' is no space", "'passwd.yaml' is no space"),
        ("the file /tmp/x/t.csv:3, ~/data/y.npz", "the file t.csv:3, y.npz"),
        ("it lies in /", "it lies in a folder"),
        ("send it to /api/v1/tables, 3/4 of it and/or http://a.example/b/c", None),
        ("space.content.a/b is application/json", None),
    ],
)
def test_paths_become_names_of_files(text: str, told: str | None) -> None:
    assert file_names_only(text) == (text if told is None else told)


def test_values_keep_names_of_files_at_any_depth() -> None:
    values = {"file": "a/b.csv", "n": 3, "inner": {"path": "/x/y", "list": [{"file": "z/w"}, "/srv/a", "b/c"]}}
    assert without_folders(values) == {
        "file": "b.csv",
        "n": 3,
        "inner": {"path": "y", "list": [{"file": "w"}, "a", "b/c"]},
    }
