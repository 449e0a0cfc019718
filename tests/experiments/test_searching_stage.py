"""The search of an experiment: over true evaluations, with what fails, and after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.details import files
from bitfront.experiments.places import candidates_folder
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages import search_records, searching
from bitfront.experiments.stages.search_records import stored_search
from bitfront.experiments.stages.searching import searched_front
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Candidate, Generation, SupernetRecord
from bitfront.search.archive_parts import ArchiveParts, read_parts
from bitfront.search.front import Front
from bitfront.search.problem import Problem
from bitfront.search.scored import Scored
from bitfront.supernet.evaluation import Evaluator, Outcome
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

SPEC = """
space: digits
data: digits
device: bitfusion
supernet: {calibration_images: 32}
search: {accuracy: measured, population: 4, generations: 3}
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


class Costs:
    """Stands for a cost model: more in each gene costs more; the least of it is not worked out."""

    device = "counting"
    names: tuple[str, ...] = ()

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def cost(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        total = (genomes * self.space.active(genomes)).sum(axis=1).astype(np.float64)
        return {"latency_ms": 1 + total, "size_bytes": 1e6 - 1000.0 * genomes[:, 0]}


@pytest.fixture
def space() -> SearchSpace:
    return digits()


@contextmanager
def running(home: Path, text: str = SPEC) -> Iterator[Run]:
    """The one experiment of a home, begun or taken up again."""
    with open_store(home) as store:
        spec = parse_spec(text)
        known = store.list_experiments().items
        if not known:
            store.claim(store.create_experiment(spec.name, spec.as_json(), 0).id)
            store.put_supernet(SupernetRecord("net", "digits", "", "digits", "", {}, "", {}, "ready"))
        run = Run(store, home, store.list_experiments().items[0].id, spec, Heard())
        yield run
        run.close()


def found(run: Run, space: SearchSpace) -> tuple[Front, list[Candidate]]:
    costs: Any = {"bitfusion": Costs(space)}
    front = searched_front(run, searching.measuring(run, space, "net", Supernet(space), costs))
    return front, list(run.store.candidates(run.experiment_id).items)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every third genome that is measured is broken, always; the list is what was measured."""
    asked: list[bytes] = []
    original = Evaluator.outcomes

    def outcomes(self: Evaluator, some: Genomes, split: str = "validation") -> list[Outcome]:
        if any(genome.sum() % 3 == 0 for genome in some):
            raise ValueError("this one is broken")
        asked.extend(map(bytes, some))
        return original(self, some, split)

    monkeypatch.setattr(Evaluator, "outcomes", outcomes)
    return asked


def test_failures_are_kept_with_their_error(tmp_path: Path, space: SearchSpace, poisoned: list[bytes]) -> None:
    with running(tmp_path) as run:
        front, candidates = found(run, space)
        trials = run.store.trials("net", "validation").lookup()
        heard = run.reporter
    broken = [one for one in candidates if one.array.sum() % 3 == 0]
    assert len(candidates) == 12
    assert 0 < len(broken) < 12
    assert all(one.error == "ValueError: this one is broken" and not one.predicted for one in broken)
    rest = [one for one in candidates if one not in broken]
    assert {one.genome: one.predicted["top1"] for one in rest} == trials
    assert all(one.error is None for one in rest)
    assert sorted(front.ids.tolist()) == [one.id for one in candidates if one.on_front]
    assert not {one.id for one in broken} & set(front.ids.tolist())
    assert isinstance(heard, Heard)
    assert any("goes on without it: ValueError: this one is broken" in line for line in heard.lines)


def test_a_killed_search_measures_nothing_again_and_ends_alike(
    tmp_path: Path, space: SearchSpace, poisoned: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "whole") as run:
        whole, candidates = found(run, space)
    undisturbed = list(poisoned)
    poisoned.clear()
    with running(tmp_path / "killed") as run:
        keep = run.store.add_generation

        def dying(experiment_id: str, generation: Generation, *rest: Any) -> None:
            if generation.index == 1:  # after its candidates were measured, before they are stored
                raise CancelledError("killed")
            keep(experiment_id, generation, *rest)

        monkeypatch.setattr(run.store, "add_generation", dying)
        with pytest.raises(CancelledError):
            found(run, space)
    with running(tmp_path / "killed") as run:
        front, again = found(run, space)
    assert again == candidates
    np.testing.assert_array_equal(front.genomes, whole.genomes)
    np.testing.assert_array_equal(front.F, whole.F)
    assert sorted(poisoned) == sorted(undisturbed)


ARCHIVED = SPEC.replace("accuracy: measured", "archive: parquet")


def predicted(run: Run, space: SearchSpace) -> Front:
    """A search with accuracy that a sum of genes stands for."""
    inner: Any = SimpleNamespace(predict=lambda genomes: SimpleNamespace(mean=1 - genomes.mean(axis=1) / 9))
    costs: Any = {"bitfusion": Costs(space)}
    return searched_front(run, searching.predicting(run, space, inner, costs))


def assert_archive_is_the_store(run: Run, space: SearchSpace) -> None:
    stored = run.store.candidates(run.experiment_id).items
    kept = read_parts(candidates_folder(run.home, run.experiment_id), space)
    np.testing.assert_array_equal(kept.genomes, np.stack([one.array for one in stored]))
    assert kept.generations.tolist() == [one.generation for one in stored]
    for name, values in kept.metrics.items():
        assert values.tolist() == [one.predicted[name] for one in stored]
    np.testing.assert_array_equal(kept.F[:, 0], 1 - kept.metrics["top1"])
    table = pd.read_parquet(candidates_folder(run.home, run.experiment_id))
    assert table["candidate"].tolist() == [one.id for one in stored]


def test_all_candidates_are_archived_if_asked_for(tmp_path: Path, space: SearchSpace) -> None:
    with running(tmp_path, ARCHIVED) as run:
        predicted(run, space)
        assert run.store.count_candidates(run.experiment_id) == 12
        assert_archive_is_the_store(run, space)
        assert str(files(run.home, run.experiment_id)["candidates"]).endswith("candidates")
    with running(tmp_path / "without", ARCHIVED.replace("parquet", "none")) as run:
        predicted(run, space)
        assert not candidates_folder(run.home, run.experiment_id).exists()


@pytest.mark.parametrize("moment", ["before it is stored", "after it is stored"])
def test_a_killed_search_loses_and_doubles_nothing_in_the_archive(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with running(tmp_path / "whole", ARCHIVED) as run:
        predicted(run, space)
        whole = read_parts(candidates_folder(run.home, run.experiment_id), space)
    with running(tmp_path / "killed", ARCHIVED) as run, monkeypatch.context() as patch:
        keep = run.store.add_generation

        def dying(experiment_id: str, generation: Generation, *rest: Any) -> None:
            if moment == "after it is stored":
                keep(experiment_id, generation, *rest)
            if generation.index == 1:
                patch.setattr(ArchiveParts, "close", lambda parts: None)  # nothing is written any more
                raise CancelledError("killed")
            if moment == "before it is stored":
                keep(experiment_id, generation, *rest)

        patch.setattr(run.store, "add_generation", dying)
        with pytest.raises(CancelledError):
            predicted(run, space)
        assert run.store.count_candidates(run.experiment_id) == (8 if moment == "after it is stored" else 4)
        assert not candidates_folder(run.home, run.experiment_id).exists()
    with running(tmp_path / "killed", ARCHIVED) as run:
        predicted(run, space)
        assert_archive_is_the_store(run, space)
        again = read_parts(candidates_folder(run.home, run.experiment_id), space)
    np.testing.assert_array_equal(again.genomes, whole.genomes)
    np.testing.assert_array_equal(again.generations, whole.generations)
    np.testing.assert_array_equal(again.F, whole.F)


def test_what_was_archived_beyond_the_store_is_taken_back(tmp_path: Path, space: SearchSpace) -> None:
    """As when the store is put back to an older copy."""
    with running(tmp_path, ARCHIVED) as run:
        folder = candidates_folder(run.home, run.experiment_id)
        predicted(run, space)
        longer = read_parts(folder, space)
        problem = Problem(space, run.spec.objectives, lambda genomes: np.ones(len(genomes)), Costs(space).cost)
        twice = Scored.joined([longer, longer])
        with ArchiveParts(folder, problem, longer) as parts:
            parts.append(twice.part(12, 24))
        assert len(read_parts(folder, space)) == 24
        predicted(run, space)
        assert_archive_is_the_store(run, space)


def test_a_damaged_part_does_not_stand_in_the_way_of_a_resume(tmp_path: Path, space: SearchSpace) -> None:
    with running(tmp_path, ARCHIVED) as run:
        predicted(run, space)
    with running(tmp_path, ARCHIVED) as run:
        (part,) = candidates_folder(run.home, run.experiment_id).iterdir()
        part.write_bytes(part.read_bytes()[:-30])
        predicted(run, space)
        assert isinstance(run.reporter, Heard)
        assert any(f"{part.name} was damaged" in line for line in run.reporter.lines)
        assert_archive_is_the_store(run, space)


class Clock:
    """Time that passes when somebody says so."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def limited(limits: str) -> str:
    return ARCHIVED.replace("generations: 3", limits)


def ending(run: Run) -> str:
    assert isinstance(run.reporter, Heard)
    (line,) = [line for line in run.reporter.lines if line.startswith("the search ends: ")]
    return line.removeprefix("the search ends: ")


def test_seconds_of_the_spec_end_the_search_and_count_over_a_kill(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("bitfront.search.loop.time", clock)
    cost = Costs.cost

    def slow(self: Costs, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        clock.now += 1.0
        return cost(self, genomes)

    monkeypatch.setattr(Costs, "cost", slow)
    with running(tmp_path / "whole", limited("seconds: 4.5")) as run:
        predicted(run, space)
        assert len(run.store.generations(run.experiment_id)) == 5
        assert ending(run) == "5.0 seconds have passed, and the budget has 4.5"
        whole = run.store.candidates(run.experiment_id).items
    with running(tmp_path / "killed", limited("seconds: 4.5")) as run, monkeypatch.context() as patch:
        keep = run.store.add_generation

        def dying(experiment_id: str, generation: Generation, *rest: Any) -> None:
            keep(experiment_id, generation, *rest)
            if generation.index == 2:
                raise CancelledError("killed")

        patch.setattr(run.store, "add_generation", dying)
        with pytest.raises(CancelledError):
            predicted(run, space)
    clock.now += 1000.0  # nobody was searching
    with running(tmp_path / "killed", limited("seconds: 4.5")) as run:
        predicted(run, space)
        assert len(run.store.generations(run.experiment_id)) == 5
        assert run.store.candidates(run.experiment_id).items == whole


@pytest.mark.parametrize(("limits", "generations"), [("stalled: 3", 4), ("stalled: 3, generations: 2", 2)])
def test_a_search_that_stalls_ends_as_the_spec_says(
    tmp_path: Path, space: SearchSpace, limits: str, generations: int
) -> None:
    """All networks are alike: after the first generation nothing grows."""
    with running(tmp_path, limited(limits)) as run:
        alike = Problem(
            space,
            run.spec.objectives,
            lambda genomes: np.full(len(genomes), 0.5),
            lambda genomes: {name: np.ones(len(genomes)) for name in ("latency_ms", "size_bytes")},
        )
        searched_front(run, alike)
        stored = run.store.generations(run.experiment_id)
        said = ending(run)
    assert len(stored) == generations
    assert len({one.hypervolume for one in stored}) == 1
    if generations == 4:
        assert said == "the front has not grown by 0.01% in 3 generations: it has stalled"
    else:
        assert said == "2 generations are done, as many as the budget has"


def test_a_search_that_grows_is_not_stalled(tmp_path: Path, space: SearchSpace) -> None:
    weights = np.random.default_rng(0).random(space.n_genes)
    with running(tmp_path, limited("stalled: 3, evaluations: 200")) as run:
        costly = Problem(
            space, run.spec.objectives, lambda genomes: np.tanh(genomes @ weights / 50), Costs(space).cost
        )
        searched_front(run, costly)
        volumes = [one.hypervolume for one in run.store.generations(run.experiment_id)]
    last_growth = max(i for i in range(1, len(volumes)) if volumes[i] > volumes[i - 1] * (1 + 1e-4))
    assert len(volumes) == min(last_growth + 1 + 3, 50)
    assert len(volumes) > 4


def test_what_is_stored_is_read_page_by_page(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, poisoned: list[bytes]
) -> None:
    """Also where a page holds nothing but failures."""
    with running(tmp_path) as run:
        found(run, space)
        costs: Any = {"bitfusion": Costs(space)}
        problem = searching.measuring(run, space, "net", Supernet(space), costs)
        whole = stored_search(run, problem)
        monkeypatch.setattr(search_records, "MOST_PER_PAGE", 1)
        singly = stored_search(run, problem)
    assert whole is not None
    assert singly is not None
    assert len(whole.genomes) == 12
    assert singly.errors == whole.errors
    assert 0 < len(whole.errors) < 12
    np.testing.assert_array_equal(singly.genomes, whole.genomes)
    np.testing.assert_array_equal(singly.generations, [0] * 4 + [1] * 4 + [2] * 4)
    assert set(singly.metrics) == set(whole.metrics) >= {"top1", "latency_ms"}
    for name, values in whole.metrics.items():
        np.testing.assert_array_equal(singly.metrics[name], values)
        assert np.flatnonzero(np.isnan(values)).tolist() == sorted(whole.errors)
