"""Islands of an experiment: what they find together, after a kill, and on other workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from typer.testing import Result

from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.details import details
from bitfront.experiments.places import candidates_folder
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import SpecError, parse_spec
from bitfront.experiments.stages.searching import predicting, searched_front
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Candidate, Generation
from bitfront.experiments.store.statuses import Status
from bitfront.latency_lut.cost_model import compile_costs
from bitfront.predictors import PREDICTORS
from bitfront.predictors.dataset import Pairs
from bitfront.search.archive import first_of_equals, non_dominated
from bitfront.search.front import Front
from bitfront.search.hypervolume import hypervolume, reference_point
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

SPEC = """
space: digits
data: digits
device: bitfusion
objectives: [top1, latency_ms, size_bytes]
constraints: ["size_bytes <= 970000"]
search:
  population: 8
  generations: 7
  archive: parquet
  islands: {every: 3, migrants: 2, each: [{}, {strategy: random}, {constraints: ["latency_ms <= 60"]},
            {fixed: {"*.kernel": 3}, objectives: [latency_ms], strategy: nsga3, population: 6}]}
"""


class Heard(Reporter):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, label: str) -> Progress:
        return silent


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return digits()


@contextmanager
def running(home: Path, text: str = SPEC) -> Iterator[Run]:
    """The one experiment of a home, begun or taken up again."""
    with open_store(home) as store:
        spec = parse_spec(text)
        if not store.list_experiments().items:
            store.claim(store.create_experiment(spec.name, spec.as_json(), 0).id)
        run = Run(store, home, store.list_experiments().items[0].id, spec, Heard())
        yield run
        run.close()


def problem_of(run: Run, space: SearchSpace, by_batch: float = 1e-8) -> Problem:
    """Predictions differ a little with the batch that a candidate comes in, as those of a network do."""

    def cost(genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        total = (genomes * space.active(genomes)).sum(axis=1).astype(np.float64)
        return {"latency_ms": 1 + total, "size_bytes": 1e6 - 1000.0 * total}

    def predict(genomes: Genomes) -> NDArray[np.float64]:
        values = np.round(np.tanh((genomes @ (np.arange(genomes.shape[1]) % 7)) / 300.0), 2)
        values += by_batch * np.sin(100.0 * values.sum() + np.arange(len(values)))
        return np.asarray(np.clip(values, 0.0, 1.0), np.float64)

    return Problem(space, run.spec.objectives, predict, cost, run.spec.parsed_constraints())


def found(run: Run, space: SearchSpace, by_batch: float = 1e-8) -> tuple[Front, list[Candidate]]:
    front = searched_front(run, problem_of(run, space, by_batch))
    return front, list(run.store.candidates(run.experiment_id, limit=10_000).items)


def test_the_front_is_that_of_all_that_any_island_scored(tmp_path: Path, space: SearchSpace) -> None:
    with running(tmp_path) as run:
        front, candidates = found(run, space, by_batch=0.0)
        generations = run.store.generations(run.experiment_id)
        problem = problem_of(run, space, by_batch=0.0)
        shown = details(run.store, run.home, run.store.get(run.experiment_id))["search"]
        last = run.store.last_generation(run.experiment_id)
        kept = pd.read_parquet(candidates_folder(run.home, run.experiment_id))
    genomes = np.stack([one.array for one in candidates])
    assert len(np.unique(genomes, axis=0)) == len(genomes)
    assert [one.id for one in candidates] == list(range(len(candidates)))
    scores = problem.evaluate(genomes)
    for name, values in scores.metrics.items():
        assert values.tolist() == [one.predicted[name] for one in candidates]
    assert 0 < scores.feasible.sum() < len(genomes)
    rows = np.flatnonzero(scores.feasible)
    rows = rows[non_dominated(scores.F[rows])]
    rows = rows[first_of_equals(scores.F[rows])]
    assert sorted(front.ids.tolist()) == rows.tolist() == [one.id for one in candidates if one.on_front]
    np.testing.assert_array_equal(front.genomes, genomes[front.ids])

    assert [one.index for one in generations] == [0, 1, 2]
    epochs = np.array([one.generation for one in candidates])
    reference = reference_point(scores.F[epochs == 0])
    for epoch, one in enumerate(generations):
        past = np.flatnonzero(scores.feasible & (epochs <= epoch))
        expected = hypervolume(scores.F[past][non_dominated(scores.F[past])], reference)
        assert one.hypervolume == pytest.approx(expected, rel=1e-12)
    assert generations[0].hypervolume < generations[-1].hypervolume
    assert list(shown["reference"].values()) == reference.tolist()

    assert (shown["generations"], len(shown["islands"])) == (7, 4)
    assert sum(one["scored"] for one in shown["islands"]) == shown["evaluations"] >= len(candidates)
    assert max(one["on_front"] for one in shown["islands"]) > 0
    assert sum(one["on_front"] for one in shown["islands"]) >= len(front)
    assert last is not None
    fixed = genomes[np.asarray(last[1]["places"][2])]
    kernels = [i for i, gene in enumerate(space.genes) if gene.name.endswith(".kernel")]
    assert (fixed[:, kernels] == 0).all()
    assert not (genomes[:, kernels] == 0).all()

    assert kept["genome"].tolist() == [one.genome for one in candidates]
    assert kept["generation"].tolist() == epochs.tolist()


@pytest.mark.parametrize("moment", ["before it is stored", "after it is stored"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_killed_and_resumed_it_ends_to_the_bit_as_if_undisturbed(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, moment: str, epoch: int
) -> None:
    with running(tmp_path / "whole") as run:
        whole, candidates = found(run, space)
        states = run.store.last_generation(run.experiment_id)
        files = [path.read_bytes() for path in candidates_folder(run.home, run.experiment_id).iterdir()]
    with running(tmp_path / "killed") as run, monkeypatch.context() as patch:
        keep = run.store.add_generation

        def dying(experiment_id: str, generation: Generation, *rest: Any) -> None:
            if generation.index == epoch and moment == "before it is stored":
                raise CancelledError("killed")
            keep(experiment_id, generation, *rest)
            if generation.index == epoch:
                raise CancelledError("killed")

        patch.setattr(run.store, "add_generation", dying)
        with pytest.raises(CancelledError):
            found(run, space)
        assert len(run.store.generations(run.experiment_id)) == epoch + (moment == "after it is stored")
    with running(tmp_path / "killed") as run:
        front, again = found(run, space)
        resumed = run.store.last_generation(run.experiment_id)
        folder = candidates_folder(run.home, run.experiment_id)
        rows = pd.read_parquet(folder)
    assert again == candidates
    np.testing.assert_array_equal(front.ids, whole.ids)
    np.testing.assert_array_equal(front.F, whole.F)
    assert states is not None
    assert resumed is not None
    assert resumed[0] == states[0]
    plain = [json.dumps(state[1], default=lambda array: array.tolist()) for state in (states, resumed)]
    assert plain[0] == plain[1]
    assert rows["candidate"].tolist() == [one.id for one in candidates]
    assert len(files) == 1


def test_a_request_to_cancel_is_heard_between_two_islands(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is the heartbeat kept going, without which another process takes the experiment for dead."""
    monkeypatch.setattr("bitfront.experiments.run._BEAT_SECONDS", -1.0)
    with running(tmp_path) as run:
        problem, worked = problem_of(run, space), list[int]()
        inner = problem.predict

        def predict(genomes: Genomes) -> NDArray[np.float64]:
            if not worked:
                run.store.set_status(run.experiment_id, Status.CANCELLING)
            worked.append(len(genomes))
            return inner(genomes)

        problem.predict = predict
        with pytest.raises(CancelledError):
            searched_front(run, problem)
        assert worked == [8, 8, 8]  # three generations of the first island
        assert not run.store.generations(run.experiment_id)


def test_resumed_when_it_had_ended_it_searches_no_more(tmp_path: Path, space: SearchSpace) -> None:
    with running(tmp_path) as run:
        first, candidates = found(run, space)
    with running(tmp_path) as run:
        second, again = found(run, space)
    assert again == candidates
    np.testing.assert_array_equal(first.ids, second.ids)


@pytest.mark.parametrize(
    ("limits", "each"), [("evaluations: 91", 30), ("generations: 2", 16), ("evaluations: 60, generations: 9", 20)]
)
def test_islands_share_the_evaluations(tmp_path: Path, space: SearchSpace, limits: str, each: int) -> None:
    text = f"{SPEC.partition('search:')[0]}search: {{population: 8, {limits}, islands: {{count: 3, migrants: 0}}}}"
    with running(tmp_path, text) as run:
        found(run, space)
        state = run.store.last_generation(run.experiment_id)
    assert state is not None
    assert [scored for scored, _ in state[1]["shares"]] == [each] * 3


def test_what_islands_do_not_find_for_themselves_counts_for_all(tmp_path: Path, space: SearchSpace) -> None:
    text = SPEC.partition("search:")[0]
    text += 'search: {population: 8, generations: 2, islands: {each: [{constraints: ["top1 >= 1"]}, EACH]}}'
    with running(tmp_path / "one", text.replace("EACH", "{}")) as run:
        front, _ = found(run, space)
        assert len(front)
        heard = run.reporter
    assert isinstance(heard, Heard)
    (line,) = [line for line in heard.lines if line.startswith("island 1 ")]
    assert line.endswith("; it found none that meets its own constraints")
    assert not any(line.endswith("constraints") for line in heard.lines if line.startswith("island 2 "))
    with running(tmp_path / "none", text.replace("EACH", '{constraints: ["top1 >= 1"]}')) as run:
        assert len(found(run, space)[0])
    impossible = text.replace("970000", "1").replace("EACH", "{}")
    with (
        running(tmp_path / "all", impossible) as run,
        pytest.raises(InfeasibleError, match=r"none of \d+ candidates meets the constraints: size_bytes <= 1 "),
    ):
        found(run, space)


def test_show_tells_who_found_what(
    tmp_path: Path, space: SearchSpace, call: Callable[..., Result], home: Path
) -> None:
    with running(home) as run:
        found(run, space)
        name = run.experiment_id
    text = call("show", name).stdout
    assert "7 of each island" in text
    assert "reference point" in text
    for number in range(1, 5):
        assert f"island {number}" in text
    shown = json.loads(call("show", name, "--json").stdout)["search"]
    assert len(shown["hypervolume"]) == 3
    assert set(shown["islands"][0]) == {"scored", "on_front"}


def test_an_island_that_leaves_no_choice_is_named(tmp_path: Path, space: SearchSpace) -> None:
    """The spec allows it; what the device can do leaves nothing of it."""
    text = SPEC.replace('{fixed: {"*.kernel": 3}', '{fixed: {"*.weight_format": fp32}')
    left = space.fix({"*.weight_format": "int8"})
    with (
        running(tmp_path, text) as run,
        pytest.raises(SpecError, match=r"islands\.each\[3\]\.fixed.*weight_format"),
    ):
        searched_front(run, problem_of(run, left))


@pytest.mark.ray
@pytest.mark.slow
def test_ray_finds_what_local_finds(tmp_path: Path, space: SearchSpace) -> None:
    """With what an experiment has: a fitted ensemble and a compiled cost table, sent to other processes."""
    pytest.importorskip("ray")
    fronts, stored, shown = [], [], []
    for kind in ("local", "{kind: ray, workers: 2}"):
        executor = kind if kind.startswith("{") else f"{{kind: {kind}}}"
        with running(tmp_path / kind[:5], f"{SPEC}executor: {executor}\n".replace("970000", "30000")) as run:
            rng = np.random.default_rng(0)
            genomes = space.sample(40, rng)
            pairs = Pairs(genomes, np.tanh(genomes.sum(axis=1) / 100.0))
            options = {"members": 2, "hidden": 16, "epochs": 2, "steps": 20}
            predictor = PREDICTORS.get("mlp").from_scratch(space, pairs, rng, options)
            (device,) = run.devices().values()
            executable = device.restrict(space)
            table = device.table(executable, tmp_path / "table.json", rng)
            costs = {device.name: compile_costs(executable, device, table)}
            problem = predicting(run, executable, predictor, costs)
            fronts.append(searched_front(run, problem))
            stored.append(list(run.store.candidates(run.experiment_id, limit=10_000).items))
            shown.append(details(run.store, run.home, run.store.get(run.experiment_id))["search"])
    assert stored[0] == stored[1]
    assert shown[0] == shown[1]
    np.testing.assert_array_equal(fronts[0].genomes, fronts[1].genomes)
    np.testing.assert_array_equal(fronts[0].F, fronts[1].F)
    assert len(fronts[0]) > 3
