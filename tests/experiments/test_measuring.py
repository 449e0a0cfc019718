"""True accuracies on executors: the same numbers, each measured once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.measuring import MeasurementError, Wanted, measured_accuracy
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import SupernetRecord
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


def test_what_can_not_be_measured_is_an_error_and_the_rest_is_kept(
    local: Run, genomes: Genomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitfront.supernet.evaluation import Evaluator, Outcome

    original = Evaluator.outcomes

    def poisoned(self: Evaluator, some: Genomes, split: str = "validation") -> list[Outcome]:
        if (some == genomes[1]).all(axis=1).any():
            raise ValueError("this one is broken")
        return original(self, some, split)

    monkeypatch.setattr(Evaluator, "outcomes", poisoned)
    with pytest.raises(MeasurementError, match=r"1 of 4 .*this one is broken"):
        measured_accuracy(local, "net", Supernet(digits()), wanted(genomes)[:1], "measuring")
    assert len(local.store.trials("net", "validation").top1) == 3


@pytest.mark.ray
@pytest.mark.slow
def test_ray_measures_what_local_measures(local: Run, genomes: Genomes, tmp_path: Path) -> None:
    supernet = Supernet(digits())
    here = measured_accuracy(local, "net", supernet, wanted(genomes), "measuring")
    for run in measuring_run(tmp_path / "ray", "ray", "2"):
        there = measured_accuracy(run, "net", supernet, wanted(genomes), "measuring")
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
