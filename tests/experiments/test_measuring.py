"""True accuracies on executors: the same numbers, each measured once."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.measuring import MeasurementError, Wanted, measured_accuracy
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import SupernetRecord
from bitfront.search.executors.base import Executor, Failure
from bitfront.supernet.evaluation import Evaluator, Outcome
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.digits import digits

SPEC = """
space: digits
data: digits
device: bitfusion
supernet: {{calibration_images: 32}}
executor: {{kind: {kind}, workers: {workers}}}
"""


@pytest.fixture
def genomes() -> Genomes:
    return digits().sample(6, np.random.default_rng(0))


def measuring_run(home: Path, kind: str, workers: str = "null") -> Iterator[Run]:
    with open_store(home) as store:
        spec = parse_spec(SPEC.format(kind=kind, workers=workers))
        experiment = store.create_experiment(spec.name, spec.as_json(), 0)
        store.claim(experiment.id)
        store.put_supernet(SupernetRecord("net", "digits", "", "digits", "", {}, "", {}, "ready"))
        run = Run(store, home, experiment.id, spec, Reporters())
        yield run
        run.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Run]:
    yield from measuring_run(tmp_path / "local", "local")


def wanted(genomes: Genomes) -> list[Wanted]:
    return [Wanted(genomes[:4], "validation", "quantized"), Wanted(genomes[2:], "test", "quantized")]


def test_what_was_measured_is_looked_up(local: Run, genomes: Genomes, monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = Supernet(digits())
    first = measured_accuracy(local, "net", supernet, wanted(genomes), "measuring")
    assert [len(part) for part in first] == [4, 4]
    assert len(local.store.trials("net", "validation").top1) == len(local.store.trials("net", "test").top1) == 4
    monkeypatch.setattr(Run, "executor", lambda self: pytest.fail("measured again"))
    again = measured_accuracy(local, "net", supernet, wanted(genomes), "measuring")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("broken", "may_fail", "left_out"), [(1, 0.05, 1), (2, 0.5, 2), (2, 0.05, 0), (4, 1.0, 0)]
)
def test_a_few_that_can_not_be_measured_may_be_left_out(
    local: Run, genomes: Genomes, monkeypatch: pytest.MonkeyPatch, broken: int, may_fail: float, left_out: int
) -> None:
    original, said = Evaluator.outcomes, list[str]()

    def poisoned(self: Evaluator, some: Genomes, split: str = "validation") -> list[Outcome]:
        if (some[:, None] == genomes[:broken]).all(axis=2).any():
            raise ValueError("this one is broken")
        return original(self, some, split)

    monkeypatch.setattr(Evaluator, "outcomes", poisoned)
    monkeypatch.setattr(local.reporter, "say", said.append)
    ask = wanted(genomes)[:1]
    if not left_out:
        with pytest.raises(MeasurementError, match=rf"{broken} of 4 .*this one is broken"):
            measured_accuracy(local, "net", Supernet(digits()), ask, "measuring", may_fail)
        return
    (found,) = measured_accuracy(local, "net", Supernet(digits()), ask, "measuring", may_fail)
    assert np.isnan(found).tolist() == [True] * broken + [False] * (4 - broken)
    (told,) = (line for line in said if "left out" in line)
    assert re.match(rf"{broken} of 4 candidates could not be measured.*this one is broken", told)
    assert len(local.store.trials("net", "validation").top1) == 4 - broken


def test_what_can_not_be_measured_is_an_error_and_the_rest_is_kept(
    local: Run, genomes: Genomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Evaluator.outcomes

    def poisoned(self: Evaluator, some: Genomes, split: str = "validation") -> list[Outcome]:
        if (some == genomes[1]).all(axis=1).any():
            raise ValueError("this one is broken")
        return original(self, some, split)

    monkeypatch.setattr(Evaluator, "outcomes", poisoned)
    with pytest.raises(MeasurementError, match=r"1 of 4 .*this one is broken"):
        measured_accuracy(local, "net", Supernet(digits()), wanted(genomes)[:1], "measuring")
    assert len(local.store.trials("net", "validation").top1) == 3


class _LosesChunks(Executor):
    """Gives up every chunk of several items, as when a worker's process dies of it, and one item by itself."""

    def __init__(self, lost: bytes | None) -> None:
        self.lost = lost
        self.asked: list[int] = []

    def map(
        self, make_worker: Any, shared: Any, items: Sequence[Any], on_result: Any = None, resources: Any = None
    ) -> list[Any]:
        work, results = make_worker(shared), []
        for position, chunk in enumerate(items):
            self.asked.append(len(chunk))
            alone = len(chunk) == 1 and chunk[0].genome != self.lost
            results.append(work(chunk) if alone else Failure("its worker died", 3))
            on_result(position, results[-1])
        return results

    def dismiss(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("one_is_lost", [False, True])
def test_what_is_given_up_together_is_measured_singly(
    local: Run, genomes: Genomes, monkeypatch: pytest.MonkeyPatch, one_is_lost: bool
) -> None:
    executor = _LosesChunks(genomes[1].tobytes() if one_is_lost else None)
    assert executor.workers == 1  # what an executor has that says nothing of it
    monkeypatch.setattr(Run, "executor", lambda self: executor)
    supernet, asked = Supernet(digits()), wanted(genomes)[:1]
    if one_is_lost:
        with pytest.raises(MeasurementError, match=r"1 of 4 .*its worker died"):
            measured_accuracy(local, "net", supernet, asked, "measuring")
    else:
        (found,) = measured_accuracy(local, "net", supernet, asked, "measuring")
        alone = Evaluator(supernet, local.dataset(), 32).evaluate(genomes[:4])
        assert found.tolist() == [one.top1 for one in alone]
    assert executor.asked == [2, 2, 1, 1, 1, 1]
    assert len(local.store.trials("net", "validation").top1) == 4 - one_is_lost


@pytest.mark.ray
@pytest.mark.slow
def test_ray_measures_what_local_measures(local: Run, genomes: Genomes, tmp_path: Path) -> None:
    supernet = Supernet(digits())
    here = measured_accuracy(local, "net", supernet, wanted(genomes), "measuring")
    for run in measuring_run(tmp_path / "ray", "ray", "2"):
        there = measured_accuracy(run, "net", supernet, wanted(genomes), "measuring")
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
