"""`bitfront ls`, `show`, `logs` and `front`: what they print for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bitfront.experiments.commands import look
from bitfront.experiments.rows import front_rows
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import PredictorRecord
from bitfront.experiments.store.statuses import Status

Call = Callable[..., Result]
Check = Callable[..., None]


class TestLs:
    def test_newest_first_with_the_reason_of_failures(
        self, call: Call, store: Store, spec: dict[str, Any], done: str
    ) -> None:
        failed = store.create_experiment("bad", spec, 0).id
        store.claim(failed)
        store.set_status(failed, Status.FAILED, "no space left " * 20)
        result = call("ls")
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= 100
        assert lines[2].startswith(f"{failed}  ")
        assert "FAILED" in lines[2]
        assert "no space left" in result.stdout
        assert lines[-1].split()[:2] == [done, "COMPLETED"]

    def test_json_and_csv_and_nothing_else(self, call: Call, done: str) -> None:
        result = call("ls", "--json")
        (row,) = json.loads(result.stdout)
        assert (row["id"], row["status"], result.stderr) == (done, "COMPLETED", "")
        (line,) = csv.DictReader(io.StringIO(call("ls", "--csv").stdout))
        assert (line["id"], line["status"]) == (done, "COMPLETED")

    def test_of_one_status(self, call: Call, one_error: Check, done: str) -> None:
        assert [row["id"] for row in json.loads(call("ls", "--status", "completed", "--json").stdout)] == [done]
        assert json.loads(call("ls", "--status", "FAILED", "--json").stdout) == []
        one_error(call("ls", "--status", "completd"), "'COMPLETED'")

    def test_more_than_a_page(
        self, call: Call, store: Store, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bitfront.experiments.commands.opened._PAGE", 2)
        ids = [store.create_experiment("one", spec, i).id for i in range(5)]
        assert [row["id"] for row in json.loads(call("ls", "--json").stdout)] == ids[::-1]

    def test_nothing_is_made_where_nothing_is(self, call: Call, home: Path) -> None:
        assert json.loads(call("ls", "--json").stdout) == []
        result = call("ls")
        assert (result.exit_code, result.stdout) == (0, "")
        assert str(home) in result.stderr
        assert not home.exists()

    def test_one_whose_process_died_is_interrupted(
        self, call: Call, dead: Owner, store: Store, spec: dict[str, Any]
    ) -> None:
        store.claim(store.create_experiment("one", spec, 0).id, dead)
        (row,) = json.loads(call("ls", "--json").stdout)
        assert row["status"] == "INTERRUPTED"
        assert str(dead.pid) in row["reason"]

    def test_one_form_at_a_time(self, call: Call, usage_error: Check) -> None:
        usage_error(call("ls", "--json", "--csv"), "--json", "--csv")


class TestShow:
    def test_for_programs(self, call: Call, store: Store, done: str, home: Path) -> None:
        values = json.loads(call("show", done, "--json").stdout)
        assert (values["id"], values["status"], values["seed"]) == (done, "COMPLETED", 0)
        assert values["spec"] == store.get(done).spec
        assert values["supernet"]["metrics"]["history"][-1]["loss"] == 0.25
        assert {one["kind"]: one["metrics"]["kendall_tau"] for one in values["predictors"]} == {
            "fp32": 0.71,
            "transferred": 0.83,
        }
        assert values["table"]["provenance"] == {"threads": 1}
        assert values["search"] == {
            "generations": 2, "evaluations": 6, "candidates": 6, "hypervolume": [0.4, 0.5],
            "reference": {"1 - top1": 0.44, "latency_ms": 1.1}, "islands": [],
        }  # fmt: skip
        assert values["front"] == {"measured": 3, "not_dominated": 2}
        assert values["exports"][0]["top1_test"] == 0.9375
        assert values["files"]["front.html"] == str(home / "experiments" / done / "front.html")

    def test_for_people(self, call: Call, done: str) -> None:
        result = call("show", done)
        assert result.exit_code == 0
        text = result.stdout
        for word in (done, "COMPLETED", "kendall_tau", "0.83", "epoch 2 · loss 0.25", "0.4 to 0.5", "front.html"):
            assert word in text
        assert "1 - top1 0.44 · latency_ms 1.1" in text
        assert max(map(len, text.splitlines())) <= 100

    def test_predictors_are_its_own(self, call: Call, store: Store, done: str) -> None:
        store.put_predictor(PredictorRecord("later", "net", "fp32", "p", {"kendall_tau": 0.1}))
        store.put_predictor(PredictorRecord("later too", "net", "transferred", "p", {"kendall_tau": 0.2}))
        found = json.loads(call("show", done, "--json").stdout)["predictors"]
        assert [one["id"] for one in found] == ["real", "moved"]

    def test_of_one_that_never_began(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        one = store.create_experiment("one", spec, 0).id
        assert "QUEUED" in call("show", one).stdout
        values = json.loads(call("show", one, "--json").stdout)
        assert (values["supernet"], values["predictors"], values["front"]["measured"]) == (None, [], 0)


class TestLogs:
    def test_prints_the_log(self, call: Call, done: str) -> None:
        assert call("logs", done).stdout == "2026-01-01T00:00:00+00:00 == 1 space ==\n"

    def test_of_one_that_has_none(self, call: Call, one_error: Check, store: Store, spec: dict[str, Any]) -> None:
        one_error(call("logs", store.create_experiment("one", spec, 0).id), "no log yet", "QUEUED")

    def test_following_goes_on_to_the_end(
        self, call: Call, store: Store, spec: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look, "_POLL_SECONDS", 0.01)
        one = store.create_experiment("one", spec, 0).id
        store.claim(one)
        log = home / "experiments" / one / "log.txt"

        def works() -> None:
            log.parent.mkdir(parents=True)
            for part in ("first é".encode()[:-1], "é\nse".encode()[1:], b"cond\n"):
                with log.open("ab") as file:
                    file.write(part)
                time.sleep(0.05)
            store.set_status(one, Status.COMPLETED)

        worker = threading.Thread(target=works)
        worker.start()
        result = call("logs", one, "--follow")
        worker.join()
        assert result.stdout == "first é\nsecond\n"


class TestFront:
    def test_json_is_what_the_front_rows_are(self, call: Call, store: Store, done: str) -> None:
        rows = json.loads(json.dumps(front_rows(store, done)))
        assert json.loads(call("front", done, "--json", "--all").stdout) == rows
        assert json.loads(call("front", done, "--json").stdout) == [row for row in rows if not row["dominated"]]

    @pytest.mark.parametrize(
        ("where", "candidates"),
        [
            ("top1 >= 0.95", {0}),  # measured; predicted is 0.96
            ("top1 > 0.95", set()),
            ("predicted_top1 > 0.95", {0}),
            ("latency_ms <= 2", {0, 1}),  # measured for 0, only predicted for 1
            ("measured_latency_ms <= 2", {0}),
            ("top1_test < 0.9", {2}),
            ("size_bytes < 50000 and not latency_ms > 2", {1}),
        ],
    )
    def test_condition(self, call: Call, done: str, where: str, candidates: set[int]) -> None:
        result = call("front", done, "--where", where, "--json", "--all")
        assert {row["candidate"] for row in json.loads(result.stdout)} == candidates

    @pytest.mark.parametrize("where", ["__import__('os').getcwd()", "top1 >=", "top1", "top1 + 1 > 0", ""])
    def test_condition_that_is_none(self, call: Call, one_error: Check, done: str, where: str) -> None:
        one_error(call("front", done, "--where", where), repr(where), "latency_ms <= 5")

    def test_condition_on_an_unknown_metric(self, call: Call, one_error: Check, done: str) -> None:
        one_error(call("front", done, "--where", "latncy_ms < 3"), "'latncy_ms'", "'latency_ms'")

    def test_csv(self, call: Call, done: str) -> None:
        lines = list(csv.DictReader(io.StringIO(call("front", done, "--csv", "--all").stdout)))
        by_candidate = {line["candidate"]: line for line in lines}
        assert set(by_candidate) == {"0", "1", "2"}
        assert by_candidate["0"]["measured_top1_test"] == "0.94"
        assert by_candidate["1"]["measured_latency_ms"] == ""
        assert by_candidate["2"]["dominated"] == "True"
        assert by_candidate["0"]["predicted_size_bytes"] == "60000.0"

    def test_for_people(self, call: Call, done: str) -> None:
        text = call("front", done).stdout
        assert max(map(len, text.splitlines())) <= 100
        for word in ("0.9600", "0.9500", "0.9400", "1.5", "60.0", "1 more turned out to be dominated"):
            assert word in text
        assert "0.8900" not in text
        everything = call("front", done, "--all").stdout
        assert "0.8900" in everything
        assert re.search(r"^ +\*2 ", everything, re.MULTILINE)

    def test_nothing_measured_yet(self, call: Call, store: Store, spec: dict[str, Any]) -> None:
        one = store.create_experiment("one", spec, 0).id
        result = call("front", one)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no measured front yet: it is QUEUED" in result.stderr
        assert json.loads(call("front", one, "--json").stdout) == []

    def test_nothing_meets_the_condition(self, call: Call, done: str) -> None:
        result = call("front", done, "--where", "latency_ms < 0")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "latency_ms < 0" in result.stderr
        assert "--all" in call("front", done, "--where", "latency_ms > 2").stderr
