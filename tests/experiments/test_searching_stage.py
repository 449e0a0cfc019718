"""The search of an experiment: over true evaluations, with what fails, and after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import CancelledError, Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages import searching
from bitfront.experiments.stages.searching import searched_front
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import Candidate, Generation, SupernetRecord
from bitfront.search.front import Front
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
def running(home: Path) -> Iterator[Run]:
    """The one experiment of a home, begun or taken up again."""
    with open_store(home) as store:
        spec = parse_spec(SPEC)
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
