"""One architecture with a bit-width policy per device: searched, measured, shown and exported as networks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import Result

from bitfront.experiments.bundle.folder import write_bundle
from bitfront.experiments.commands.ending import print_front
from bitfront.experiments.networks import networks_of
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import front_rows, read_front, rows_of_device
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.exporting import export_candidate, export_picked
from bitfront.experiments.stages.measured_front import measure_front
from bitfront.experiments.stages.searching import predicting, searched_front
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.stages.tables import compiled_costs, searched_space
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import SupernetRecord
from bitfront.latency_lut.smallest import smallest
from bitfront.search.front import Front
from bitfront.search.problem import InfeasibleError
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import StorageError, UnknownNameError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.files import read_json
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.run import train

GIVEN: dict[str, Any] = {
    "space": "digits",
    "data": "digits",
    "devices": {"phone": "bitfusion", "edge": "roofline"},
    "fixed": {"resolution": 8, "head.*_format": "int8"},
    "supernet": {"calibration_images": 32, "batch_size": 80},
    "search": {"policies": "per_device", "population": 20, "generations": 3},
    "front": {"measure": 3},
}


class Guess:
    """Predicts more for more bits, and remembers how long the genomes were that it was asked for."""

    def __init__(self) -> None:
        self.lengths: set[int] = set()

    def predict(self, genomes: Genomes) -> Any:
        self.lengths.add(genomes.shape[1])
        return type("Prediction", (), {"mean": 1 - genomes.mean(axis=1) / 9})


@pytest.fixture
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    """Quickly profiled: one resolution, one kernel and few pairs of formats."""
    kept = {gene.name: gene.choices[:1] for gene in tiny_space.genes if gene.kind in ("resolution", "kernel")}
    return tiny_space.restrict(kept).restrict_formats(lambda op: [("int8", "int8"), ("int4", "int4")])


@pytest.fixture
def run(store: Store, space: MBConvSpace, tiny_data: Dataset, home: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An experiment on a tiny space with a supernet that did not learn anything."""
    monkeypatch.setattr(Run, "space", lambda self: space)
    monkeypatch.setattr(Run, "dataset", lambda self: tiny_data)
    for module in ("rows", "stages.measuring"):
        monkeypatch.setattr(f"bitfront.experiments.{module}.load_space", lambda settings: space)
    monkeypatch.setattr("bitfront.experiments.stages.measuring.load_dataset", lambda settings: tiny_data)
    spec = spec_from(GIVEN)
    one = store.create_experiment(spec.name, spec.as_json(), spec.seed)
    store.claim(one.id)
    folder = supernet_folder(home, "net")
    train(Supernet(space), tiny_data, TrainingSettings(0, 0, 0, batch_size=80), 0, folder, device="cpu")
    store.put_supernet(SupernetRecord("net", "tiny", "", "tiny", "", {}, str(folder), {}, "ready"))
    store.link(one.id, supernet_id="net")
    return Run(store, home, one.id, spec, Reporters())


def searched(run: Run, space: MBConvSpace, **changes: object) -> Front:
    if changes:
        run.spec = spec_from({**GIVEN, **changes})
    devices, guess = run.devices(), Guess()
    costs = compiled_costs(run, devices, space)
    predictor: Any = guess
    front = searched_front(run, predicting(run, searched_space(run, space, devices), predictor, costs))
    assert guess.lengths == {space.n_genes}  # the predictor knows single networks
    return front


def test_each_device_has_networks_that_it_executes_and_all_one_architecture(run: Run, space: MBConvSpace) -> None:
    front = searched(run, space)
    parts = networks_of(space, ["phone", "edge"], front.genomes)
    models = compiled_costs(run, run.devices(), space)
    for name, device in run.devices().items():
        own = device.restrict(space).fix({"resolution": 8, "head.*_format": "int8"})
        assert own.valid(parts[name]).all()
        np.testing.assert_array_equal(
            models[name].cost(parts[name])["latency_ms"], front.predicted[f"latency_ms@{name}"]
        )
    architecture = [i for i, gene in enumerate(space.genes) if not gene.is_policy]
    np.testing.assert_array_equal(parts["phone"][:, architecture], parts["edge"][:, architecture])
    assert (parts["phone"] != parts["edge"]).any()


@pytest.fixture
def measured(run: Run, space: MBConvSpace) -> Run:
    front = searched(run, space)
    measure_front(run, front, "net", Supernet(space), run.devices())
    return run


def test_every_network_is_measured(measured: Run, space: MBConvSpace, tiny_data: Dataset) -> None:
    front = read_front(measured.store, measured.experiment_id)
    assert len(front) == 3
    evaluator = Evaluator(Supernet(space), tiny_data, 32)
    for name, genomes in networks_of(space, ["phone", "edge"], front.genomes).items():
        for split, metric in (("validation", "top1"), ("test", "top1_test")):
            expected = [one.top1 for one in evaluator.outcomes(genomes, split)]  # type: ignore[union-attr]
            np.testing.assert_allclose(front.measured[f"{metric}@{name}"], expected)
    assert set(front.measured) == {
        f"{name}@{device}" for name in ("top1", "top1_test", "latency_ms") for device in ("phone", "edge")
    }
    assert len(front.query("measured_top1@phone >= 0 and top1@edge <= 1")) == 3


def test_rows_and_table_show_each_network(measured: Run, space: MBConvSpace) -> None:
    rows = front_rows(measured.store, measured.experiment_id)
    networks = networks_of(space, ["phone", "edge"], np.array([row["genome"] for row in rows], dtype=np.uint8))
    for name in ("phone", "edge"):
        of_device = rows_of_device(rows, name)
        for row, genome in zip(of_device, networks[name], strict=True):
            layers = space.layers(genome)
            assert [one["weight_format"] for one in row["policy"]] == [one.weight_format for one in layers]
            assert row["architecture"].startswith("r8 ")
            assert row["bits"].startswith("w")
            assert set(row["predicted"]) >= {"top1", "latency_ms", "size_bytes", "macs"}
    text = io.StringIO()
    console = Console(width=120, file=text)
    print_front(console, rows, 0, measured.spec.as_json(), None)
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert [sum(line.count(name) for line in lines) for name in ("phone", "edge")] == [3, 3]


def test_each_policy_is_exported_as_a_network(measured: Run, space: MBConvSpace) -> None:
    export_picked(measured)
    exports = measured.store.exports(measured.experiment_id)
    assert [one.device for one in exports] == ["edge", "phone"]
    front = read_front(measured.store, measured.experiment_id)
    place = front.ids.tolist().index(exports[0].candidate_id)
    total = front.measured["top1@phone"] + front.measured["top1@edge"]
    assert total[place] == total[~front.dominated].max()
    folder = measured.folder / "exports" / f"candidate-{exports[0].candidate_id}"
    parts = networks_of(space, ["phone", "edge"], front.genomes[place : place + 1])
    for name, genomes in parts.items():
        manifest = read_json(folder / name / "manifest.json")
        assert (folder / name / "model.onnx").is_file()
        assert manifest["genome"] == genomes[0].tolist()
        assert manifest["predicted"]["latency_ms"] == front.predicted[f"latency_ms@{name}"][place]
        assert manifest["measured"]["top1_validation"] == front.measured[f"top1@{name}"][place]
        device = measured.devices()[name]
        assert manifest["device"] == {"name": device.name, **device.provenance()}
        assert manifest["experiment"]["device"] == name
        assert not any("@" in metric for metric in manifest["predicted"])


def test_the_network_of_one_device_alone(
    measured: Run, tmp_path: Any, call: Callable[..., Result], store: Store
) -> None:
    one = measured.store.front(measured.experiment_id)[0].candidate.id
    where = measured.store, measured.home, measured.experiment_id, one
    (only,) = export_candidate(*where, folder=tmp_path / "out", device="edge")
    assert only.record.path == str(tmp_path / "out" / "edge" / "model.onnx")
    with pytest.raises(UnknownNameError, match="did you mean 'edge'"):
        export_candidate(*where, folder=tmp_path / "out", device="edgy")
    printed = call("export", measured.experiment_id, "--candidate", one, "-o", tmp_path / "both")
    assert printed.exit_code == 0, printed.output
    assert len(printed.stdout.splitlines()) == 2
    shown = json.loads(call("show", measured.experiment_id, "--json").stdout)
    assert [export["device"] for export in shown["exports"]] == ["edge", "phone"]


def test_where_the_bundle_of_one_device_can_not_be_written(
    measured: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Any, files: dict[str, bytes]) -> None:
        if folder.name == "edge":
            raise StorageError("the disk is full")
        write_bundle(folder, files)

    one = measured.store.front(measured.experiment_id)[0].candidate.id
    where = measured.store, measured.home, measured.experiment_id, one
    with monkeypatch.context() as patch:
        patch.setattr("bitfront.experiments.stages.export_bundle.write_bundle", full)
        with pytest.raises(StorageError):
            export_candidate(*where, folder=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["phone"]
    assert [record.device for record in measured.store.exports(measured.experiment_id)] == ["phone"]
    assert len(export_candidate(*where, folder=tmp_path / "out")) == 2


def test_limits_that_no_candidate_meets_are_answered_first(run: Run, space: MBConvSpace) -> None:
    with pytest.raises(InfeasibleError, match="out of reach") as refused:
        searched(run, space, constraints=["latency_ms@phone <= 0.0001"])
    (costs,) = [model for name, model in compiled_costs(run, run.devices(), space).items() if name == "phone"]
    least, _ = smallest(costs, run.devices()["phone"].restrict(space), "latency_ms")
    assert f"the smallest latency_ms@phone is {least:.6g}, that of resolution" in str(refused.value)
    assert run.store.last_generation(run.experiment_id) is None
