"""A home with experiments in it, made through the store, and the command line to look at them."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bitfront.experiments.cli import app
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec, spec_from
from bitfront.experiments.stages.exporting import export_candidate
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store, store_file
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import (
    CandidateBatch,
    ExportRecord,
    Generation,
    Measurement,
    PredictorRecord,
    SupernetRecord,
    TableRecord,
)
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.run import train

EXPORTABLE = """
space: digits
data: digits
device: bitfusion
supernet: {calibration_images: 32, batch_size: 80}
export: {finetune_epochs: 1}
"""
Call = Callable[..., Result]
Find = Callable[[Store, str], None]

MEASURED = {0: (0.95, 0.94, 1.5, False), 1: (0.90, 0.91, None, False), 2: (0.89, 0.88, 2.5, True)}
"""Candidate to top1 on validation, on test, latency and whether it is dominated."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty BITFRONT_HOME, and a terminal of 100 columns."""
    folder = tmp_path / "home"
    # Set, even where it is the default, so that what a command sets is undone afterwards.
    monkeypatch.setenv("BITFRONT_HOME", str(folder))
    monkeypatch.setenv("BITFRONT_DEBUG", "0")
    monkeypatch.setenv("COLUMNS", "100")
    return folder


@pytest.fixture
def loggers_as_before() -> Iterator[None]:
    """What a command sets up for the life of its process ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def call(home: Path) -> Call:
    """Run one command in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def store(home: Path, migrated: Path) -> Iterator[Store]:
    """The home's store."""
    if not store_file(home).exists():
        home.mkdir(exist_ok=True)
        shutil.copy(migrated, store_file(home))
    with open_store() as opened:
        yield opened


@pytest.fixture
def spec() -> dict[str, Any]:
    """A valid spec as it is stored."""
    given = {"name": "digits-host", "space": "digits", "data": "digits", "device": "host-onnxruntime"}
    values: dict[str, Any] = spec_from(given).model_dump(mode="json")
    return values


@pytest.fixture
def find(home: Path) -> Find:
    """What a whole run leaves of a claimed experiment, but for its status."""

    def leave(store: Store, experiment_id: str) -> None:
        _search(store, experiment_id)
        _front(store, experiment_id)
        _links(store, experiment_id, home)
        folder = home / "experiments" / experiment_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.txt").write_text("2026-01-01T00:00:00+00:00 == 1 space ==\n")
        (folder / "front.html").write_text("<html></html>")

    return leave


@pytest.fixture
def done(store: Store, spec: dict[str, Any], find: Find) -> str:
    """A COMPLETED experiment."""
    one = store.create_experiment("digits-host", spec, 0).id
    store.claim(one)
    store.set_stage(one, "7 export")
    find(store, one)
    store.set_status(one, Status.COMPLETED)
    return one


@pytest.fixture
def dead() -> Owner:
    """A process of this machine that is no more."""
    return Owner(socket.gethostname(), 2**22 + 1, "no boot:0")


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """A valid spec as it is written."""
    path = tmp_path / "spec.yaml"
    path.write_text("{name: digits-host, space: digits, data: digits, device: bitfusion, seed: 3}")
    return path


@pytest.fixture
def one_error() -> Callable[..., None]:
    """A command's only line on stderr is an error with these words; its exit code is 1 and stdout is empty."""

    def check(result: Result, *words: str) -> None:
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        for word in words:
            assert word in line

    return check


@pytest.fixture
def usage_error() -> Callable[..., None]:
    """A command line is refused with these words: the exit code is 2 and stdout is empty."""

    def check(result: Result, *words: str) -> None:
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        for word in words:
            assert word in result.stderr

    return check


def _search(store: Store, experiment_id: str) -> None:
    space = SPACES.get("digits")()
    genomes = space.sample(6, np.random.default_rng(0))
    predicted = {
        "top1": np.array([0.96, 0.93, 0.92, 0.80, 0.70, 0.60]),
        "latency_ms": np.array([1.0, 0.5, 0.4, 0.3, 0.2, 0.1]),
        "size_bytes": np.array([60e3, 30e3, 20e3, 10e3, 9e3, 8e3]),
    }
    state = {"objectives": ["top1", "latency_ms"], "reference": np.array([0.44, 1.1])}
    for i in range(2):
        rows = slice(3 * i, 3 * i + 3)
        batch = CandidateBatch(genomes[rows], {name: values[rows] for name, values in predicted.items()})
        store.add_generation(experiment_id, Generation(i, 3 * i + 3, 0.4 + 0.1 * i), batch, genomes[:3], state)


def _front(store: Store, experiment_id: str) -> None:
    store.add_front_members(experiment_id, list(MEASURED))
    store.measure_front_members(
        experiment_id,
        [Measurement(i, valid, test, ms, dominated) for i, (valid, test, ms, dominated) in MEASURED.items()],
    )


def _links(store: Store, experiment_id: str, home: Path) -> None:
    space = SPACES.get("digits")()
    history = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.25}]
    store.put_supernet(
        SupernetRecord("net", "digits", space.hash(), "digits", "ab", {}, "net", {"history": history}, "ready")
    )
    store.put_predictor(PredictorRecord("real", "net", "fp32", "real.safetensors", {"kendall_tau": 0.71}))
    moved = {"kendall_tau": 0.83, "from": "real"}
    store.put_predictor(PredictorRecord("moved", "net", "transferred", "m.safetensors", moved))
    store.put_table(TableRecord("table", "host-onnxruntime", space.hash(), "t.json", {"threads": 1}))
    store.link(experiment_id, supernet_id="net", predictor_id="moved", table_id="table")
    path = home / "experiments" / experiment_id / "exports" / "model.onnx"
    store.put_export(experiment_id, ExportRecord(0, "onnx", str(path), "cd" * 32, 0.9375))


@pytest.fixture
def exportable(tmp_path: Path, tiny_space: MBConvSpace, tiny_data: Dataset) -> Iterator[Run]:
    """An experiment on a tiny space with two candidates, of integers and of real numbers, about to be exported."""
    with _exportable(tmp_path, tiny_space, tiny_data) as run:
        yield run


@pytest.fixture(scope="session")
def exported_all(tmp_path_factory: pytest.TempPathFactory, tiny_space: MBConvSpace, tiny_data: Dataset) -> Path:
    """A bundle of all forms of the first candidate of `exportable`; copy it to change it."""
    folder = tmp_path_factory.mktemp("bundles")
    with _exportable(folder, tiny_space, tiny_data) as run:
        where = run.store, run.home, run.experiment_id
        export_candidate(*where, 0, "all", folder / "all", finetune_epochs=0)
    return folder / "all"


@contextmanager
def _exportable(folder: Path, space: MBConvSpace, data: Dataset) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch, open_store(folder) as store:
        patch.setattr(Run, "space", lambda self: space)
        patch.setattr(Run, "dataset", lambda self: data)
        patch.setattr("bitfront.experiments.rows.load_space", lambda settings: space)
        spec = parse_spec(EXPORTABLE)
        one = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(one.id)
        weights = supernet_folder(folder, "net")
        train(Supernet(space), data, TrainingSettings(0, 0, 0, batch_size=80), 0, weights, device="cpu")
        store.put_supernet(SupernetRecord("net", "tiny", "", "tiny", "", {}, str(weights), {}, "ready"))
        store.link(one.id, supernet_id="net")
        smallest = space.extremes()[:1]
        genomes = np.concatenate(
            [space.assign(smallest, {"weight_format": f, "activation_format": f}) for f in ("int8", "fp32")]
        )
        predicted = {name: np.array([0.5, 0.4]) for name in ("top1", "latency_ms", "size_bytes")}
        store.add_generation(one.id, Generation(0, 2, 0.5), CandidateBatch(genomes, predicted), genomes, {})
        store.add_front_members(one.id, [0])
        store.measure_front_members(one.id, [Measurement(0, 0.125, 0.125, 1.0, False)])
        yield Run(store, folder, one.id, spec, Reporters())
