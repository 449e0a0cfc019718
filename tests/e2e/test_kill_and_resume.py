"""kill -9 at every stage, resume each time: the front is that of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from bitfront.experiments.cli import app
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store

SPEC = """
space: digits
data: digits
device: bitfusion
seed: 5
constraints: ["size_bytes <= 30000"]
supernet: {warmup_epochs: 2, elastic_epochs: 2, quantized_epochs: 2, batch_size: 128, subnets_per_step: 2,
           calibration_images: 128}
samples: {fp32: 40, quantized: 24, held_out: 16}
search: {population: 24, generations: 12, archive: parquet}
front: {measure: 8}
export: {pick: knee}
"""
ISLANDS = SPEC.replace("population: 24", "population: 8, islands: {count: 3, every: 2, migrants: 2}")
STAGES = ("2 supernet", "3 measured samples", "4 predictor", "5 search", "6 measured front", "7 export")


class Home:
    """A BITFRONT_HOME and the command line in it."""

    def __init__(self, folder: Path, spec: str = SPEC) -> None:
        self.folder = folder
        folder.mkdir()
        self.spec = folder / "spec.yaml"
        self.spec.write_text(spec)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "bitfront.experiments.cli", *arguments],
            env={**os.environ, "BITFRONT_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self) -> None:
        process = self.start("run", str(self.spec))
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err.decode()

    def call(self, *arguments: str) -> str:
        """What a command prints that only looks; in this process, as another takes a second to load."""
        done = CliRunner().invoke(app, arguments, env={"BITFRONT_HOME": str(self.folder / "home")})
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "home").glob("experiments/*/log.txt"))

    def saved(self, what: str, store: Store) -> int:
        """How much of a stage is kept so far: a checkpoint, measured trials, generations."""
        if what == "checkpoint":
            return len(list((self.folder / "home").glob("supernets/*/checkpoint.safetensors")))
        (experiment,) = store.list_experiments().items
        if what == "generations":
            return len(store.generations(experiment.id))
        return len(store.trials(experiment.supernet_id or "", "validation").top1)

    def kill_when(self, process: subprocess.Popen[bytes], what: str, least: int) -> int:
        """Kill -9 as soon as so much is kept; how much it is."""
        self.wait(process, lambda: bool(list((self.folder / "home").glob("experiments/*/log.txt"))), 0.1)
        with open_store(self.folder / "home") as store:
            self.wait(process, lambda: self.saved(what, store) >= least, 0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            return self.saved(what, store)

    def wait(self, process: subprocess.Popen[bytes], there: Callable[[], bool], pause: float) -> None:
        deadline = time.monotonic() + 300
        while not there():
            assert process.poll() is None, f"it ended too early: {self.log()}"
            assert time.monotonic() < deadline, self.log()
            time.sleep(pause)

    def kill_at(self, process: subprocess.Popen[bytes], title: str, delay: float) -> bool:
        """Kill -9 some time after the last log line of this title appeared; False if it ended before."""
        seen = self.log().count(f"== {title}")
        deadline = time.monotonic() + 300
        while self.log().count(f"== {title}") == seen:
            assert time.monotonic() < deadline, self.log()
            if process.poll() is not None:
                return False
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL


def front(home: Home) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(home.call("front", "latest", "--json", "--all"))
    return rows


def candidates(home: Home) -> pd.DataFrame:
    (folder,) = (home.folder / "home").glob("experiments/*/candidates")
    return pd.read_parquet(folder)


@pytest.mark.slow
def test_killed_at_every_stage_ends_with_the_same_front(tmp_path: Path) -> None:
    """The search has islands; one without is killed below."""
    calm, troubled = Home(tmp_path / "calm", ISLANDS), Home(tmp_path / "troubled", ISLANDS)
    calm.run()

    rng = random.Random(7)
    process = troubled.start("run", str(troubled.spec))
    kills = 0
    for title in STAGES:
        kills += troubled.kill_at(process, title, rng.uniform(0.0, 0.6))
        status = json.loads(troubled.call("show", "latest", "--json"))["status"]
        if status == "COMPLETED":
            break
        assert status == "INTERRUPTED"
        process = troubled.start("resume", "latest")
    process.communicate(timeout=400)

    assert kills >= 4
    assert front(troubled) == front(calm)
    assert len(front(calm)) == 8
    pd.testing.assert_frame_equal(candidates(troubled), candidates(calm))
    assert json.loads(troubled.call("show", "latest", "--json"))["status"] == "COMPLETED"


@pytest.mark.slow
def test_killed_in_the_middle_of_a_stage_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    calm, troubled = Home(tmp_path / "calm"), Home(tmp_path / "troubled")
    calm.run()

    process = troubled.start("run", str(troubled.spec))
    for what, least in (("checkpoint", 1), ("trials", 20), ("generations", 3)):
        kept = troubled.kill_when(process, what, least)
        assert json.loads(troubled.call("show", "latest", "--json"))["status"] == "INTERRUPTED"
        process = troubled.start("resume", "latest")
        if what == "generations":
            assert kept < 12
    process.communicate(timeout=400)

    log = troubled.log()
    assert "training goes on after epoch" in log
    assert "the search goes on after generation" in log
    assert front(troubled) == front(calm)
    histories = [json.loads(home.call("show", "latest", "--json"))["search"] for home in (calm, troubled)]
    assert histories[0] == histories[1]
    assert histories[0]["candidates"] == len(candidates(calm))
    pd.testing.assert_frame_equal(candidates(troubled), candidates(calm))
