"""What a doctor says of workers, the queue, the database and who may read it."""

from pathlib import Path
from typing import Any

import pytest

from bitfront.experiments import doctor_service
from bitfront.experiments.doctor import Check
from bitfront.experiments.doctor_service import LOOKS
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import utc_now
from bitfront.experiments.worker.roster import WorkerRecord, write_record


def looked(home: Path) -> dict[str, Check]:
    return {check.name: check for look in LOOKS.values() for check in look(home)}


def test_no_home_and_none_is_made(home: Path) -> None:
    assert {check.state for check in looked(home).values()} == {"fine"}
    assert not home.exists()


def test_a_queue_that_nobody_works_on(store: Store, home: Path, spec: dict[str, Any]) -> None:
    for _ in range(2):
        store.create_experiment("one", spec, 0)
    found = looked(home)
    assert (found["worker"].state, found["queue"].value) == ("doubtful", "2 QUEUED")
    assert "none, though 2 experiments wait: start one with 'bitfront worker'" in found["worker"].value
    write_record(home, WorkerRecord(Owner.current(), 3, (Owner.current(),)))
    found = looked(home)
    assert found["worker"].state == "fine"
    assert "1 of 3 slots" in found["worker"].value
    assert "MiB" in found["database"].value


def test_an_experiment_that_is_silent(
    store: Store, home: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store.create_experiment("one", spec, 0).id
    store.claim(one)
    assert "heartbeats" not in looked(home)
    monkeypatch.setattr(doctor_service, "utc_now", lambda: utc_now() + doctor_service._SILENT * 2)
    found = looked(home)["heartbeats"]
    assert found.state == "doubtful"
    assert one in found.value


def test_tokens_that_others_can_read(store: Store, home: Path) -> None:
    path = home / "bitfront.sqlite"
    home.chmod(0o755)
    path.chmod(0o644)
    assert looked(home)["tokens"] == Check("service", "tokens", "0 valid")
    store.add_token("one", ["read"], "ab" * 32)
    found = looked(home)["tokens"]
    assert found.state == "doubtful"
    assert f"chmod -R o= {home}" in found.value
    home.chmod(0o750)
    assert looked(home)["tokens"] == Check("service", "tokens", "1 valid")
    home.chmod(0o755)
    path.chmod(0o640)
    assert looked(home)["tokens"].state == "fine"
