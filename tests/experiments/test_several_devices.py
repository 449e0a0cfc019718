"""An experiment with several devices: its tables, what its store keeps, and how its front is read and shown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import front_rows, read_front, rows_of_device
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.plotting import write_plots
from bitfront.experiments.stages.searching import searched_front
from bitfront.experiments.stages.tables import compiled_costs
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import CandidateBatch, Generation, Measurement
from bitfront.latency_lut.cost_model import CostModel
from bitfront.search.devices import combined_cost, restrict_to_all
from bitfront.search.problem import Problem
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.mbconv import MBConvSpace

Call = Callable[..., Result]

DEVICES = {"phone": "bitfusion", "edge": "roofline"}
PREDICTED = {
    "top1": [0.96, 0.93, 0.92],
    "latency_ms@phone": [1.0, 0.5, 0.4],
    "latency_ms@edge": [2.0, 3.0, 4.0],
    "energy_mj@phone": [0.3, 0.2, 0.1],
    "size_bytes": [60e3, 30e3, 20e3],
}


def spec_values(**fields: object) -> dict[str, Any]:
    given = {"name": "two", "space": "digits", "data": "digits", "devices": DEVICES, **fields}
    return spec_from(given).as_json()


@pytest.fixture
def experiment(store: Store) -> str:
    """One with three measured members; on the phone nothing could be measured."""
    objectives = ["top1", "latency_ms@phone", "latency_ms@edge", "energy_mj@phone"]
    one = store.create_experiment("two", spec_values(objectives=objectives), 0)
    genomes = SPACES.get("digits")().sample(3, np.random.default_rng(0))
    batch = CandidateBatch(genomes, {name: np.array(values) for name, values in PREDICTED.items()})
    store.add_generation(one.id, Generation(0, 3, 0.5), batch, genomes, {})
    store.add_front_members(one.id, [0, 1, 2])
    measured = [Measurement(i, 0.9 - i / 100, 0.8, by_device={"latency_ms@edge": 2.5 + i}) for i in range(3)]
    store.measure_front_members(one.id, measured)
    return one.id


def test_the_front_has_each_metric_under_its_name(store: Store, experiment: str) -> None:
    front = read_front(store, experiment)
    assert set(front.predicted) == set(PREDICTED)
    assert set(front.measured) == {"top1", "top1_test", "latency_ms@phone", "latency_ms@edge"}
    assert np.isnan(front.measured["latency_ms@phone"]).all()
    assert sorted(front.best_known["latency_ms@edge"]) == [2.5, 3.5, 4.5]
    assert front.query("latency_ms@edge >= 3 and predicted_latency_ms@edge <= 3").ids.tolist() == [1]
    assert front.query("latency_ms@phone <= 0.45").ids.tolist() == [2]


def test_rows_of_one_device_read_as_if_there_were_no_other(store: Store, experiment: str) -> None:
    rows = front_rows(store, experiment)
    assert rows[0]["predicted"] == {name: values[0] for name, values in PREDICTED.items()}
    assert rows[0]["measured"]["latency_ms@edge"] == 2.5
    edge = rows_of_device(rows, "edge")[0]
    assert edge["predicted"] == {"top1": 0.96, "latency_ms": 2.0, "size_bytes": 60e3}
    assert edge["measured"]["latency_ms"] == 2.5
    assert "energy_mj" in rows_of_device(rows, "phone")[0]["predicted"]


def test_the_command_line_shows_and_asks_for_them(store: Store, experiment: str, call: Call) -> None:
    table = call("front", experiment).stdout
    assert {"phone", "edge", "ms", "meas"} <= set(table.split())
    assert table.split().count("meas") == 1  # nothing was measured on the phone
    assert [f"{value:.1f}" in table for value in (2.5, 3.5, 4.5)] == [True] * 3
    chosen = json.loads(call("front", experiment, "--json", "--where", "latency_ms@edge >= 4").stdout)
    assert [row["candidate"] for row in chosen] == [2]
    (first, *_) = csv.DictReader(io.StringIO(call("front", experiment, "--csv").stdout))
    assert float(first["predicted_latency_ms@phone"]) == 1.0
    wrong = call("front", experiment, "--where", "latency_ms@fone <= 1")
    assert wrong.exit_code == 1
    assert "did you mean 'latency_ms@phone'" in wrong.stderr


def test_a_picture_of_each_device(store: Store, experiment: str, home: Path, call: Call) -> None:
    run = Run(store, home, experiment, spec_from(store.get(experiment).spec), Reporters())
    write_plots(run)
    assert sorted(path.name for path in run.folder.glob("front*")) == [
        "front-edge.html", "front-edge.png", "front-phone.html", "front-phone.png",
    ]  # fmt: skip
    page = (run.folder / "front-phone.html").read_text()
    assert "two on phone" in page
    assert "Energy" in page
    assert "Energy" not in (run.folder / "front-edge.html").read_text()
    shown = json.loads(call("show", experiment, "--json").stdout)
    assert {"front-edge.html", "front-phone.png"} <= set(shown["files"])


@pytest.fixture
def small(tiny_space: MBConvSpace) -> MBConvSpace:
    """Quickly profiled: one resolution and one kernel."""
    kept = {gene.name: gene.choices[:1] for gene in tiny_space.genes if gene.kind in ("resolution", "kernel")}
    return tiny_space.restrict(kept)


@contextmanager
def running(home: Path, space: MBConvSpace, monkeypatch: pytest.MonkeyPatch, **fields: object) -> Iterator[Run]:
    monkeypatch.setattr(Run, "space", lambda self: space)
    values = fields or spec_values(objectives=["macs"])
    spec = spec_from({"space": "digits", "data": "digits", **values})
    with open_store(home) as store:
        one = store.create_experiment("two", spec.as_json(), 0)
        store.claim(one.id)
        yield Run(store, home, one.id, spec, Reporters())


def costs_of(run: Run, space: SearchSpace) -> dict[str, CostModel]:
    return compiled_costs(run, run.devices(), space)


def test_tables_are_shared_with_experiments_of_one_device(
    home: Path, small: MBConvSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(home, small, monkeypatch) as run:
        both = costs_of(run, small)
        ids = run.store.get(run.experiment_id).table_ids
        shown = {name: run.store.table(table_id) for name, table_id in ids.items()}
    assert {name: table.device for name, table in shown.items() if table} == {
        "phone": "bitfusion",
        "edge": "roofline",
    }
    with running(home, small, monkeypatch, device="bitfusion") as run:
        alone = costs_of(run, small)["bitfusion"]
        assert run.store.get(run.experiment_id).table_id == ids["phone"]
    devices = {"phone": "bitfusion", "edge": "roofline"}
    space = restrict_to_all(small, {name: run_device(name) for name in devices.values()})
    genomes = space.sample(50, np.random.default_rng(0))
    cost = combined_cost({name: model.cost for name, model in both.items()})(genomes)
    np.testing.assert_array_equal(cost["latency_ms@phone"], alone.cost(genomes)["latency_ms"])
    assert (cost["latency_ms@phone"] != cost["latency_ms@edge"]).all()


def run_device(name: str) -> Any:
    from bitfront.latency_lut.devices import DEVICES as known

    return known.get(name)()


def test_a_search_that_began_keeps_to_the_tables_of_each_device(
    home: Path, small: MBConvSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(home, small, monkeypatch) as run:
        costs_of(run, small)
        ids = run.store.get(run.experiment_id).table_ids
        run.store.link(run.experiment_id, table_ids={**ids, "edge": ids["phone"]})
        costs_of(run, small)  # nothing was searched yet
        run.store.link(run.experiment_id, table_ids={**ids, "edge": ids["phone"]})
        genomes = small.extremes()
        batch = CandidateBatch(genomes, {"macs": np.ones(2)})
        run.store.add_generation(run.experiment_id, Generation(0, 2, 0.5), batch, genomes[:1], {})
        with pytest.raises(ConflictError, match="but edge now has"):
            costs_of(run, small)


def test_a_search_over_several_devices_goes_on_after_a_kill(
    home: Path, small: MBConvSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "devices": DEVICES,
        "objectives": ["top1", "latency_ms@phone", "latency_ms@edge"],
        "constraints": ["latency_ms@edge <= 1"],
        "search": {"population": 10, "generations": 6},
    }
    fronts = []
    for killed in (False, True):
        with running(home, small, monkeypatch, **values) as run:
            models = costs_of(run, small)
            space = restrict_to_all(small, run.devices())
            cost = combined_cost({name: model.cost for name, model in models.items()})
            problem = Problem(
                space, run.spec.objectives, lambda g: g.mean(axis=1) / 9, cost, run.spec.parsed_constraints()
            )
            if killed:
                keep = run.store.add_generation

                def dying(experiment_id: str, generation: Generation, *rest: Any, keep: Any = keep) -> None:
                    keep(experiment_id, generation, *rest)
                    if generation.index == 2:
                        raise KeyboardInterrupt

                with monkeypatch.context() as patch:
                    patch.setattr(run.store, "add_generation", dying)
                    with pytest.raises(KeyboardInterrupt):
                        searched_front(run, problem)
            fronts.append(searched_front(run, problem))
            page = run.store.candidates(run.experiment_id, order="latency_ms@phone")
            assert len(page.items) == 60
    assert len(fronts[0]) > 1
    np.testing.assert_array_equal(fronts[0].genomes, fronts[1].genomes)
    np.testing.assert_array_equal(fronts[0].F, fronts[1].F)
