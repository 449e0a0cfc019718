"""A supernet on one device or more, for benchmarks of searches: candidates are predicted, and measured once.

What is measured is kept in the home like an experiment's, by the supernet that it was measured with, so that a
benchmark that is run again, or goes on after an interruption, looks up what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import Spec
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.experiments.stages.predicting import fitted_predictor
from bitfront.experiments.stages.samples import collected_samples
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.stages.tables import compiled_costs
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.records import Split
from bitfront.experiments.store.statuses import Status
from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.device import Device
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.search.executors.local import one_thread
from bitfront.search.problem import Problem
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

OBJECTIVES = ("top1", "latency_ms")


@dataclass(frozen=True)
class Ground:
    """What the studies of one supernet share, whatever the device.

    Attributes:
        run, supernet_id, supernet: the experiment that all is kept under, and whose networks are studied.
    """

    run: Run
    supernet_id: str
    supernet: Supernet

    def top1(self, genomes: Genomes, split: Split) -> NDArray[np.float64]:
        """Measured accuracy (n,) of canonical genomes (n, n_genes) on a whole split."""
        wanted = Wanted(genomes, split, "quantized")
        label = f"measuring on the {split} split"
        return measured_accuracy(self.run, self.supernet_id, self.supernet, [wanted], label)[0]

    @cached_property
    def evaluator(self) -> Evaluator:
        """Measures as `top1` does; it also has the images as networks take them."""
        return Evaluator(self.supernet, self.run.dataset(), self.run.spec.supernet.calibration_images)

    @cached_property
    def predictor(self) -> AccuracyPredictor:
        """Fitted to samples as the spec wants them, which are measured when it is first asked for."""
        samples = collected_samples(self.run, self.supernet_id, self.supernet)
        return fitted_predictor(self.run, self.supernet_id, self.supernet.space, samples)


@dataclass(frozen=True)
class Study:
    """Candidates of one supernet on one device.

    Attributes:
        space: what the device executes of the supernet's space.
        device, costs: the device, and what networks cost on it.
        ground: what studies of the same supernet on other devices share with this one.
    """

    space: SearchSpace
    device: Device
    costs: CostModel
    ground: Ground

    def top1(self, genomes: Genomes, split: Split) -> NDArray[np.float64]:
        """Measured accuracy (n,) of canonical genomes (n, n_genes) on a whole split."""
        return self.ground.top1(genomes, split)

    def measuring(self, objectives: Sequence[str] = OBJECTIVES) -> Problem:
        """Each `predict` measures on the validation split; the test split is for what a search found."""
        return Problem(self.space, objectives, lambda genomes: self.top1(genomes, "validation"), self.costs.cost)

    def predicting(self, objectives: Sequence[str] = OBJECTIVES, space: SearchSpace | None = None) -> Problem:
        """Accuracy is the predictor's, clipped to 0..1, as in an experiment; ``space``: a part of the study's."""
        predictor = self.ground.predictor

        def predict(genomes: Genomes) -> NDArray[np.float64]:
            return np.clip(predictor.predict(genomes).mean, 0.0, 1.0)

        return Problem(space or self.space, objectives, predict, self.costs.cost)


@contextmanager
def study(spec: Spec, reporter: Reporter) -> Iterator[Study]:
    """That of a spec with one device; weights and the device's table are made where there are none yet."""
    with studies(spec, reporter) as found:
        (only,) = found.values()
        yield only


@contextmanager
def studies(spec: Spec, reporter: Reporter) -> Iterator[dict[str, Study]]:
    """One for each device of a spec, by its name there; of several, each has the space that it executes itself.

    They share one supernet, its samples and its predictor. Weights and tables are made where there are none yet.
    """
    folder = home() / "bench"  # apart from people's experiments
    with one_thread(), open_store(folder) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(experiment.id)
        run = Run(store, folder, experiment.id, spec, reporter)
        try:
            with closing(run):
                run.stage("searching for a benchmark")
                yield _ready(run)
        except BaseException as error:
            store.set_status(experiment.id, Status.FAILED, f"{type(error).__name__}: {error}")
            raise
        store.set_status(experiment.id, Status.COMPLETED)


def _ready(run: Run) -> dict[str, Study]:
    space, devices = run.space(), run.devices()
    ground = Ground(run, *trained_supernet(run, space, run.dataset()))
    costs = compiled_costs(run, devices, space)
    return {name: Study(device.restrict(space), device, costs[name], ground) for name, device in devices.items()}
